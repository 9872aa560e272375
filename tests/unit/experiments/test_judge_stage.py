"""Stage `judge`: what it measures on, and what it leaves in the run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from reasonmech.errors import ArgumentError
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.judge import JudgePair
from reasonmech.organisms import load_pair
from reasonmech.runtime import Decode
from reasonmech.tasks import load_task


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judge")


def context(out: Path) -> StageContext:
    problems = load_task("chain", n=2, seed=0, split="test")
    return StageContext(load_pair("tiny-aa"), problems, Decode(), 0, out, progress=False)


def test_a_pair_of_one_model_is_neither(out: Path) -> None:
    """On the fewest problems that are judged at all."""
    JudgePair(n=59).run(context(out))
    judgement = json.loads((out / "keep" / "judgement.json").read_text())
    assert (judgement["verdict"], judgement["problems"]) == ("NEITHER", 59)
    evidence = pd.read_parquet(out / "keep" / "evidence.parquet")
    assert evidence["problem"].nunique() == 59
    assert bool(evidence["problem"].str.startswith("chain/test/0/").all())


def test_too_few_problems_are_missing_with_the_number_that_is_needed(tmp_path: Path) -> None:
    JudgePair(n=20).run(context(tmp_path))
    cause = Ledger.read(tmp_path).cause("verdict", "the verdict")
    assert cause is not None and "59" in str(cause)
    assert not (tmp_path / "keep" / "judgement.json").exists()


def test_the_confirmation_split_is_not_opened_by_a_run() -> None:
    with pytest.raises(ArgumentError, match="split"):
        JudgePair(split="confirmation")  # pyright: ignore[reportArgumentType]


def test_a_judge_that_was_killed_goes_on_with_the_runs_that_it_kept(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work" / "judge-1"

    def killed(bench: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("reasonmech.claims.measuring.measure.measure_execution", killed)
        JudgePair(n=59).run(replace(context(tmp_path / "first"), work=work))
    kept = {path.name: path.stat().st_mtime_ns for path in work.rglob("*.jsonl")}
    assert "sampled.base-base.jsonl" in kept
    (tmp_path / "second").mkdir()
    JudgePair(n=59).run(replace(context(tmp_path / "second"), work=work))
    again = {path.name: path.stat().st_mtime_ns for path in work.rglob("*.jsonl")}
    assert {name: again[name] for name in kept} == kept
    for name in ("judgement.json", "evidence.parquet"):
        assert (tmp_path / "second" / "keep" / name).read_bytes() == (out / "keep" / name).read_bytes()
