"""The ladder of the features that a run writes, on the page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reasonmech.experiments import load_run
from reasonmech.report import render
from reasonmech.report.sections.ladder import claimed
from tests.made_run import make_run

CLAIMS = ("C0 the coder fits", "C1 it detects", "C2 beyond its cue")


def test_the_page_says_how_many_clamped_features_are_supported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert 'id="ladder"' not in render(run)
    rows = []
    for verb, feature, verdicts in (
        ("clamp", 1, ("SUPPORTED", "REFUTED", "NOT TESTED")),
        ("clamp", 2, ("SUPPORTED", "SUPPORTED", "SUPPORTED")),
        ("ablate", 2, ("SUPPORTED", "SUPPORTED", "SUPPORTED")),
    ):
        for source in ("base", "thinking"):
            row = {"behaviour": "check", "verb": verb, "coder": "a", "source": source, "feature": feature}
            for claim, verdict in zip(CLAIMS, verdicts, strict=True):
                rows.append(row | {"among": "x", "claim": claim, "verdict": verdict, "reason": "<b>0.5</b>"})
    pd.DataFrame(rows).to_parquet(run.path / "ladder.parquet")
    ends = {"value": 1.0, "low": 0.99, "high": 1.0, "searched": 1}
    baseline = {"behaviour": "check", "source": "thinking", "among": "x", "baseline": "previous kind"}
    pd.DataFrame([baseline | ends]).to_parquet(run.path / "baselines.parquet")
    run = load_run(run.path)
    assert claimed(run).startswith("1 of 2 clamped features are SUPPORTED")
    page = render(run)
    assert '<section id="ladder">' in page and "1 SUPPORTED, 1 REFUTED" in page
    assert "previous kind" in page and "100.0 % [99.0, 100.0]" in page and "<b>0.5</b>" not in page
