"""Metrics on what a model wrote: one number per rollout, NaN where there was nothing to measure."""

from __future__ import annotations

import numpy as np
import pytest

from reasonmech.behaviours import onset_rate
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.metrics import accuracy, behaviour_rate
from reasonmech.rollout import Rollouts
from reasonmech.tasks import grade, parse
from tests.unit.tasks.chain_text import CAREFUL, CARELESS, GUESS, rollout

ROLLOUTS = Rollouts([rollout(text) for text in (CAREFUL, CARELESS, GUESS)], task="chain")


def test_behaviour_rate_is_the_onsets_per_opportunity_of_each_rollout() -> None:
    rates = behaviour_rate("check").measure(ROLLOUTS)
    assert rates[0] == pytest.approx(2 / 3) and rates[1] == 0.0
    assert np.isnan(rates[2]), "nothing was stated that could be checked"
    of_one = behaviour_rate("check").measure(ROLLOUTS[:1])
    assert of_one[0] == onset_rate(parse(ROLLOUTS[:1]), "check").value


def test_behaviour_rate_per_rollout_is_whether_the_behaviour_happens_at_all() -> None:
    metric = behaviour_rate("check", per="rollout")
    assert metric.measure(ROLLOUTS).tolist() == [1.0, 0.0, 0.0]
    assert (metric.name, metric.unit) == ("check_rate", "share of rollouts")


def test_accuracy_is_the_graders_verdict() -> None:
    assert accuracy().measure(ROLLOUTS).tolist() == grade(ROLLOUTS).astype(float).tolist() == [1.0, 0.0, 1.0]
    cut = Rollouts([rollout(CAREFUL, stop="length")], task="chain")
    assert accuracy().measure(cut).tolist() == [0.0]


def test_unknown_behaviours_and_rollouts_without_opportunity_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="backtrack"):
        behaviour_rate("chekc")
    with pytest.raises(UnknownNameError, match="opportunity, rollout"):
        behaviour_rate("check", per="token")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no opportunity"):
        behaviour_rate("check").measure(ROLLOUTS[2:])
