"""Recovery is signed and unclipped, and says when it has no bound."""

from __future__ import annotations

import numpy as np
import pytest

from reasonmech import stats


def test_recovery_is_signed_unclipped_and_paired() -> None:
    rng = np.random.default_rng(3)
    base = (rng.random(300) < 0.3).astype(float)
    thinking = np.ones(300)
    same = stats.recovery(base, thinking, thinking, bounds=None)
    ends = (same.estimate, same.low, same.high)
    assert ends == (1.0, 1.0, 1.0)  # paired: numerator and gap are the same draws
    bounded = stats.recovery(base, thinking, thinking)
    assert bounded.estimate == 1.0
    assert 0.97 < bounded.low < 0.99 and 1.01 < bounded.high < 1.03, "300 problems, not all there are"
    worse = np.where(rng.random(300) < 0.5, 0.0, base)
    recovery = stats.recovery(base, thinking, worse)
    assert recovery.estimate < 0
    assert recovery.low < recovery.estimate < recovery.high
    assert not recovery.unbounded
    assert not recovery.weak
    assert recovery.estimate == pytest.approx((worse - base).mean() / (thinking - base).mean())


def test_recovery_without_a_gap_is_unbounded() -> None:
    rng = np.random.default_rng(4)
    base, thinking, arm = (rng.random((50, 4)) < 0.5 for _ in range(3))
    recovery = stats.recovery(base, thinking, arm)
    assert recovery.unbounded
    assert recovery.weak
    assert (recovery.low, recovery.high) == (-np.inf, np.inf)
    assert "unbounded" in str(recovery)
