"""What the model itself predicts, and what was known before the onset."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reasonmech.errors import DataError
from reasonmech.labels import Labels
from reasonmech.locate import previous_kinds
from reasonmech.locate.rows.context import BINS, MAX_LEVELS, design_matrix, known_covariates
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout, Sentence, Trace


def _labels(rollout: list[int], position: list[int]) -> Labels:
    n = len(rollout)
    problem = np.array([f"p{r}" for r in rollout])
    return Labels("check", "anticipates", np.array(rollout), np.array(position), np.zeros(n, bool), problem)


def test_previous_kind_is_of_the_sentence_that_holds_the_read_token() -> None:
    rollout = Rollout(Problem("p0", "q", "1"), 0, (1, 2), (3, 4, 5, 6), (False,) * 4, (False,) * 4, "eos", "")
    trace = Trace(rollout, (Sentence("plan", 0, 2), Sentence("step", 2, 3)), ("a", "b", "c", "d"))
    assert previous_kinds(_labels([0] * 4, [1, 3, 4, 5]), [trace]).tolist() == [
        "prompt",
        "plan",
        "step",
        "other",
    ]


def test_known_covariates_number_the_boundaries_of_each_rollout() -> None:
    index = pd.DataFrame({"rollout": [0, 0, 1, 1], "position": [3, 5, 3, 4], "token": [7, 8, 7, 9]})
    acts = type("Acts", (), {"index": index})()
    covariates = known_covariates(acts, _labels([0, 1, 0], [5, 4, 3]))
    assert covariates.position.tolist() == [5, 4, 3]
    assert covariates.boundary.tolist() == [2, 1, 1]
    assert covariates.delimiter.tolist() == ["8", "9", "7"]


def test_design_is_fitted_on_training_rows_only() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"position": rng.integers(0, 90, 500), "kind": rng.choice(list("abc"), 500)})
    train = np.arange(500) < 300
    design = design_matrix(frame, train)
    assert design.shape == (500, 1 + 1 + (BINS - 1) + 2)
    assert (design[:, 0] == 1).all()
    assert design[train, 1].mean() == pytest.approx(0, abs=1e-12)
    assert design[train, 1].std() == pytest.approx(1)
    moved = frame.assign(
        position=np.where(train, frame.position, 1000), kind=np.where(train, frame.kind, "unseen")
    )
    assert np.array_equal(design_matrix(moved, train)[train], design[train])
    assert (design_matrix(moved, train)[~train, -2:] == 0).all()


def test_design_limits_levels_and_refuses_missing_numbers() -> None:
    frame = pd.DataFrame({"token": [str(i % 40) for i in range(400)]})
    design = design_matrix(frame, np.ones(400, bool))
    assert design.shape == (400, 1 + MAX_LEVELS + 1)
    named = pd.Series(frame.token).value_counts().index[: MAX_LEVELS + 1]
    assert np.array_equal(
        design[:, -1] == 1, ~frame.token.isin(named)
    )  # the rarer ones are not the most frequent one
    with pytest.raises(DataError, match="'entropy' has 1 missing"):
        design_matrix(pd.DataFrame({"entropy": [0.1, np.nan]}), np.ones(2, bool))
