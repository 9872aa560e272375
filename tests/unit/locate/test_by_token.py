"""What a token says of a number comes from other problems; what is left says nothing of the token."""

from __future__ import annotations

import numpy as np
import pytest

from reasonmech.locate.rows.by_token import FOLDS, beyond_token, standardised


def test_the_mean_of_a_token_is_that_of_other_problems() -> None:
    rng = np.random.default_rng(0)
    problem, token = np.repeat(np.arange(40), 20), rng.integers(0, 30, 800)
    train, values = problem < 25, rng.normal(size=800) + 3.0 * (token % 2)
    parts = beyond_token(values, token, problem, train=train)
    for row in (0, 250, 499):
        others = train & (problem % FOLDS != problem[row] % FOLDS) & (token == token[row])
        assert parts.mean[row] == pytest.approx(values[others].mean())
    for row in (500, 799):
        assert parts.mean[row] == pytest.approx(values[train & (token == token[row])].mean())
    assert parts.rest + parts.mean == pytest.approx(values)
    apart = [abs(x[token % 2 == 1].mean() - x[token % 2 == 0].mean()) for x in (values, parts.rest)]
    assert apart[0] > 2.5 and apart[1] < 0.2


def test_a_token_that_no_other_problem_reads_says_nothing_and_leaves_nothing() -> None:
    problem, token = np.repeat(np.arange(20), 5), np.tile(np.arange(5), 20)
    token[7] = 99  # a training row's own, and that of a row held out
    token[95] = 98
    values = np.arange(100.0)
    parts = beyond_token(values, token, problem, train=problem < 15)
    assert parts.rest[[7, 95]].tolist() == [0, 0] and parts.rest.std() > 1
    assert parts.mean[95] == pytest.approx(values[problem < 15].mean())


def test_what_does_not_vary_is_no_column() -> None:
    train = np.arange(10) < 6
    assert standardised(np.where(train, 1.0, 2.0), train).shape == (10, 0)
    column = standardised(np.arange(10.0), train)
    assert column[train].mean() == pytest.approx(0) and column[train].std() == pytest.approx(1)
