"""Controls of a run: controls within the narrowest tolerance that has enough of them, which is said."""

from __future__ import annotations

import numpy as np
import pytest

from reasonmech.errors import DataError
from reasonmech.experiments.stages.controls import TOLERANCES, draw_controls
from reasonmech.locate import FeatureStats


def test_the_tolerance_really_used_is_in_the_description() -> None:
    rate = np.array([0.1, 0.14, 0.14, 0.5, 0.0])
    stats = FeatureStats(rate, np.ones(5), np.ones(5))
    controls = draw_controls(stats, (0,), n=2, seed=0, tolerances=TOLERANCES)
    assert {*controls.sets} == {(1,), (2,)}
    assert (
        controls.tolerance == (0.5, 0.3)
        and "within 50% in firing rate and 30% in strength" in controls.description
    )


def test_without_enough_controls_every_tolerance_is_accounted_for() -> None:
    stats = FeatureStats(np.array([0.1, 0.5, 0.0]), np.ones(3), np.ones(3))
    with pytest.raises(DataError, match=r"within 20% and 10%.*within 100% and 100%"):
        draw_controls(stats, (0,), n=1, seed=0, tolerances=TOLERANCES)
