"""AUROC equals every pair compared, and its interval covers: near one, with few problems, within strata."""

from __future__ import annotations

import numpy as np
import pytest

from reasonmech import stats
from reasonmech.errors import DataError, NonFiniteError
from reasonmech.stats.auroc import influence


def _brute_auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    wins = scores[positive][:, None] - scores[~positive][None]
    return float(((wins > 0) + 0.5 * (wins == 0)).mean())


def test_auroc_equals_all_pairs_and_its_error_that_of_resampled_problems() -> None:
    rng = np.random.default_rng(8)
    problems = np.repeat(np.arange(200), 6)
    positive = rng.random(1200) < 0.4
    scores = np.round(
        rng.normal(size=1200) + positive + np.repeat(rng.normal(size=200), 6), 1
    )  # rounding makes ties
    interval, (value, psi) = stats.auroc(scores, positive, problems), influence(scores, positive, problems)
    assert interval.estimate == value == pytest.approx(_brute_auroc(scores, positive))
    assert psi.sum() == pytest.approx(0, abs=1e-12) and psi.std() > 0
    resampled = []
    for weights in np.concatenate(list(stats.bootstrap_weights(200, 300, seed=9))).astype(int):
        rows = np.repeat(np.arange(1200), weights[problems])
        resampled.append(_brute_auroc(scores[rows], positive[rows]))
    assert np.sqrt((psi**2).sum()) == pytest.approx(
        np.std(resampled), rel=0.12
    )  # 300 draws know an error to 4 %
    assert interval.high - interval.low == pytest.approx(2 * 1.97 * np.std(resampled), rel=0.15)


def test_auroc_within_strata_equals_the_pairs_of_each_stratum() -> None:
    rng = np.random.default_rng(13)
    problems, word = np.repeat(np.arange(60), 10), rng.integers(0, 8, 600)
    positive = rng.random(600) < np.where(word < 3, 0.8, 0.1) * (word < 7)  # word 7 is never positive
    scores = np.round(10.0 * (word < 3) + rng.normal(size=600) + positive, 1)
    interval = stats.auroc(scores, positive, problems, within=word)
    wins = pairs = 0.0
    for w in range(8):
        a, b = scores[(word == w) & positive], scores[(word == w) & ~positive]
        wins, pairs = wins + (a[:, None] > b).sum() + 0.5 * (a[:, None] == b).sum(), pairs + len(a) * len(b)
    assert (
        interval.estimate == pytest.approx(wins / pairs)
        and stats.auroc(scores, positive, problems).estimate > 0.85
    )
    assert interval.low < 0.76 < interval.high  # two normals one apart: Phi(1 / sqrt 2) = 0.760
    with pytest.raises(DataError, match="0 problems hold a positive row"):
        stats.auroc(scores, positive, problems, within=np.arange(600))


def test_auroc_of_200_000_rows_and_of_too_few_problems() -> None:
    rng = np.random.default_rng(10)
    n = 200_000
    positive = rng.random(n) < 0.5
    interval = stats.auroc(rng.normal(size=n) + positive, positive, np.arange(n) // 50)
    assert interval.low < 0.7602 < interval.high and interval.high - interval.low < 0.01
    with pytest.raises(DataError, match="4 problems hold a positive row"):
        stats.auroc(np.arange(40), np.arange(40) < 4, np.arange(40))
    with pytest.raises(NonFiniteError, match="1 of 40 scores are NaN"):
        stats.auroc(np.where(np.arange(40) == 3, np.nan, 1.0), np.arange(40) % 2 == 0, np.arange(40))


def test_an_auroc_of_1_in_20_problems_has_the_bound_of_clopper_pearson() -> None:
    """Where no pair is lost there is no spread to take an error from: k rights in k are k rights in k."""
    positive, problems = np.arange(40) % 2 == 0, np.arange(40) // 2
    interval = stats.auroc(positive * 1.0, positive, problems)
    assert (interval.estimate, interval.high) == (1.0, 1.0) and interval.low == pytest.approx(
        0.025 ** (1 / 20), abs=0.02
    )
    reversed_ = stats.auroc(-1.0 * positive, positive, problems)
    assert (reversed_.estimate, reversed_.low, reversed_.high) == pytest.approx((0.0, 0.0, 1 - interval.low))
    constant = stats.auroc(np.zeros(40), positive, problems)
    assert constant[:3] == (0.5, 0.5, 0.5)  # a constant tells nothing, in any draw of problems


def test_auroc_interval_covers_with_12_positives_that_mostly_all_fire() -> None:
    """12 positives in as many problems, of which a detector sees 97 %: mostly all 12, and no spread."""
    rng, hits, problems = np.random.default_rng(15), 0, np.repeat(np.arange(60), 20)
    for _ in range(300):
        positive = (np.arange(1200) % 20 == 0) & np.isin(problems, rng.choice(60, 12, replace=False))
        fires = rng.random(1200) < np.where(positive, 0.97, 0.01)
        hits += stats.auroc(fires * rng.uniform(1, 2, 1200), positive, problems).covers(0.98)
    assert hits / 300 > 0.92


@pytest.mark.parametrize(("problems", "hit", "leak"), [(20, 0.97, 0.02), (40, 0.995, 0.005)])
def test_auroc_interval_covers_near_one(problems: int, hit: float, leak: float) -> None:
    """A feature that is almost always right; the percentile bootstrap covers 87 % and 60 % here."""
    rng, hits, problem = np.random.default_rng(14), 0, np.repeat(np.arange(problems), 6)
    truth = hit * (1 - leak) + 0.5 * (hit * leak + (1 - hit) * (1 - leak))
    for _ in range(400):
        positive = rng.random(6 * problems) < np.repeat(rng.beta(1, 2, problems), 6)
        fires = rng.random(6 * problems) < np.where(positive, hit, leak)
        hits += stats.auroc(fires * rng.uniform(1, 2, 6 * problems), positive, problem).covers(truth)
    assert hits / 400 > 0.92


def test_auroc_interval_covers_when_scores_cluster_by_problem() -> None:
    """Scores and labels both cluster by problem; the truth is the mean over many worlds."""
    rng, hits = np.random.default_rng(11), 0
    problems = np.repeat(np.arange(80), 8)

    def world() -> tuple[np.ndarray, np.ndarray]:
        kind = np.repeat(rng.normal(size=80), 8)
        positive = rng.random(640) < 1 / (1 + np.exp(-kind))
        return positive + 0.7 * kind + rng.normal(size=640), positive

    truth = np.mean([_brute_auroc(*world()) for _ in range(400)])
    for _ in range(300):
        hits += stats.auroc(*world(), problems).covers(float(truth))
    assert 0.93 - 0.025 <= hits / 300 <= 0.97 + 0.025  # two standard errors of 300 replicates
