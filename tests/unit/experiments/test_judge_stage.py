"""Stage `judge`: what it measures on, and what it leaves in the run."""

from __future__ import annotations

import json
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
    assert evidence["problem"].str.startswith("chain/test/0/").all()


def test_too_few_problems_are_missing_with_the_number_that_is_needed(tmp_path: Path) -> None:
    JudgePair(n=20).run(context(tmp_path))
    cause = Ledger.read(tmp_path).cause("verdict", "the verdict")
    assert cause is not None and "59" in str(cause)
    assert not (tmp_path / "keep" / "judgement.json").exists()


def test_the_confirmation_split_is_not_opened_by_a_run() -> None:
    with pytest.raises(ArgumentError, match="split"):
        JudgePair(split="confirmation")  # pyright: ignore[reportArgumentType]
