"""Controls resemble their targets; where none does, the error names the nearest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reasonmech.errors import DataError
from reasonmech.locate import FeatureStats, Tolerance, feature_stats, matched_features


@pytest.fixture
def stats() -> FeatureStats:
    rng = np.random.default_rng(0)
    rate = rng.uniform(0.05, 0.15, 400)
    mean = rng.uniform(0.8, 1.2, 400)
    return FeatureStats(rate, mean, mean * rng.uniform(0.9, 1.1, 400))


def test_stats_are_of_the_activations_given(coder) -> None:
    x = torch.full((50, 64), -1.0)
    x[:10, 3] = 2.0
    statistics = feature_stats(coder, x)
    assert (statistics.rate[3], statistics.mean_active[3], statistics.effect[3]) == pytest.approx(
        (0.2, 2.0, 2.0)
    )
    assert (statistics.rate[4], statistics.mean_active[4]) == (0.0, 0.0)


def test_members_match_their_targets_and_are_none_of_them(stats: FeatureStats) -> None:
    targets = (5, 9, 11)
    sets = matched_features(stats, targets, n=20, seed=1)
    assert len(set(sets)) == 20
    for members in sets:
        assert not set(members) & set(targets)
        assert len(set(members)) == 3
        for target, index in zip(targets, members, strict=True):
            assert abs(stats.rate[index] / stats.rate[target] - 1) <= 0.2
            assert abs(stats.effect[index] / stats.effect[target] - 1) <= 0.1
    assert sets == matched_features(stats, targets, n=20, seed=1)
    assert sets != matched_features(stats, targets, n=20, seed=2)


def test_no_match_names_the_nearest(stats: FeatureStats) -> None:
    stats.effect[5] = 50.0
    with pytest.raises(DataError, match="no feature matches feature 5; the nearest"):
        matched_features(stats, (5,), n=1)
    stats.rate[6] = 0.0
    with pytest.raises(DataError, match="feature 6 never fires"):
        matched_features(stats, (6,), n=1)


def test_too_few_sets_is_an_error_not_a_shorter_list(stats: FeatureStats) -> None:
    narrow = Tolerance(rate=0.03, effect=0.02)
    pool = [
        i
        for i in range(400)
        if i != 7
        and abs(stats.rate[i] / stats.rate[7] - 1) <= 0.03
        and abs(stats.effect[i] / stats.effect[7] - 1) <= 0.02
    ]
    assert pool
    assert {members[0] for members in matched_features(stats, (7,), n=len(pool), tolerance=narrow)} == set(
        pool
    )
    with pytest.raises(DataError, match=f"{len(pool)} different matched sets"):
        matched_features(stats, (7,), n=len(pool) + 1, tolerance=narrow)


def test_a_feature_that_never_fires_is_no_control_and_order_makes_no_second_set() -> None:
    rate, mean = np.array([0.1, 0.1, 0.1, 0.1, 0.0]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    stats, wide = FeatureStats(rate, mean, mean), Tolerance(1.0, 1.0)
    (only,) = matched_features(stats, (0, 1), n=1, tolerance=wide)
    assert set(only) == {2, 3}
    with pytest.raises(DataError, match="1 different matched sets"):
        matched_features(stats, (0, 1), n=2, tolerance=wide)
