"""A run that was written before columns were renamed is shown as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from rich.console import Console

from reasonmech.experiments import load_run
from reasonmech.report import receipts, receipts_in_short, render
from tests.made_run import make_run


def write_old_run(path: Path) -> None:
    """A run whose tables and receipts say n_fired, as they did before n_gated and n_changed."""
    make_run(path)
    results = pd.read_parquet(path / "results.parquet").rename(columns={"n_gated": "n_fired"})
    results.drop(columns="n_changed", errors="ignore").to_parquet(path / "results.parquet")
    record = json.loads((path / "record.json").read_text())
    for lines in record["receipts"].values():
        for line in lines:
            line.pop("n_changed", None)
            if "n_gated" in line:
                line["n_fired"] = line.pop("n_gated")
    (path / "record.json").write_text(json.dumps(record))


def test_an_old_run_is_reported_and_its_receipts_are_listed(tmp_path: Path) -> None:
    write_old_run(tmp_path / "old")
    assert "n_fired" in pd.read_parquet(tmp_path / "old" / "results.parquet")
    run = load_run(tmp_path / "old")
    assert '<section id="receipts">' in render(run)
    console = Console(width=160)
    with console.capture() as capture:
        console.print(receipts(run))
    assert "4 / 9" in capture.get()
    assert receipts_in_short(run).startswith("1 interventions")
