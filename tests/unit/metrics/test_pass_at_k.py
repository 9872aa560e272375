"""pass@k and Cover@tau: equal to enumeration over all subsets of samples."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from reasonmech.errors import DataError
from reasonmech.metrics.pass_at_k import cover_at_tau, pass_at_k


def test_pass_at_k_equals_enumeration_and_cover_counts() -> None:
    correct = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]], dtype=bool)
    assert pass_at_k(correct, 1).estimate == pytest.approx(correct.mean())
    by_enumeration = [np.mean([row[list(c)].any() for c in combinations(range(4), 2)]) for row in correct]
    assert pass_at_k(correct, 2).estimate == pytest.approx(np.mean(by_enumeration))
    assert pass_at_k(correct, 4).estimate == pytest.approx(0.75)
    assert cover_at_tau(correct, 0.5).estimate == 0.5
    with pytest.raises(DataError, match="1 <= k <= 4"):
        pass_at_k(correct, 5)
    with pytest.raises(DataError, match="0 < tau"):
        cover_at_tau(correct, 0.0)
