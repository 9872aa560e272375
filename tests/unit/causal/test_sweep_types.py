"""What sweeps and grids refuse they refuse in three parts; one text, plan or number is taken as one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from reasonmech.causal.sweeps import (
    Configuration,
    RolloutTrials,
    TextTrials,
    estimate_sweep,
    grid,
    sweep,
    sweep_rollouts,
)
from reasonmech.errors import ArgumentError, DataError
from reasonmech.interventions import Direction, steer
from reasonmech.metrics import accuracy, logit_diff
from reasonmech.testing import tiny_host

HOST = tiny_host()
V = Direction.along(torch.ones(HOST.d_model), "resid_post.1")
METRIC = logit_diff(HOST, good=9, bad=12)
PLANS = grid({"v": V}, "steer", amounts=(1.0,))


def test_one_text_and_one_configuration_are_taken_as_one() -> None:
    one = sweep(HOST, "w1 w2 . w3", PLANS[0], metric=METRIC, progress=False)
    several = sweep(HOST, ["w1 w2 . w3"], PLANS, metric=METRIC, progress=False)
    assert len(one) == 2 and one.table["cell"].equals(several.table["cell"])
    assert estimate_sweep(HOST, TextTrials("w1 w2"), PLANS, metric=METRIC).n_cells == 2


def test_one_number_is_one_amount_and_one_intervention_is_a_plan() -> None:
    assert grid({"v": V}, "steer", amounts=1.0)[0].fingerprint == PLANS[0].fingerprint
    assert Configuration("a", steer(V, 1.0)).fingerprint == Configuration("b", [steer(V, 1.0)]).fingerprint  # pyright: ignore


@pytest.mark.parametrize(
    ("call", "happened"),
    [
        (lambda: grid(V, "steer", amounts=(1.0,)), "axes is a Direction"),
        (
            lambda: grid({"v": torch.ones(32)}, "steer", amounts=(1.0,)),
            r"axis 'v' is a Tensor of shape \(32,\)",
        ),
        (lambda: grid({"v": Direction}, "steer", amounts=(1.0,)), "axis 'v' is the class Direction"),
        (lambda: grid({"v": V}, "steer", amounts="strong"), "amounts is the string 'strong'"),
        (lambda: grid({"v": V}, "steer", amounts=(1.0,), where="prompt"), "mask 'prompt' is the string"),
        (lambda: grid({"v": V}, "steer", amounts=(1.0,), when=3.0), "when is the number 3.0"),
        (lambda: Configuration("a", ["v"]), r"plan\[0\] is the string 'v'"),
        (lambda: sweep(["w1"], HOST, PLANS, metric=METRIC), "host is a list of 1"),
        (lambda: sweep(HOST, PLANS, ["w1"], metric=METRIC), r"texts\[0\] is a Configuration"),
        (lambda: sweep(HOST, torch.ones(3), PLANS, metric=METRIC), r"texts is a Tensor of shape \(3,\)"),
        (lambda: sweep(HOST, ["w1"], {"v": V}, metric=METRIC), "configurations is a dict of 1"),
        (lambda: sweep(HOST, ["w1"], PLANS, metric=lambda reading: 0), "metric is the function"),
        (lambda: sweep(HOST, ["w1"], PLANS, metric=accuracy()), "which reads rollouts"),
        (lambda: sweep_rollouts(HOST, ["w1"], PLANS, metric=METRIC), "which reads what comes next"),
        (lambda: sweep_rollouts(["w1"], HOST, PLANS, metric=accuracy()), "host is a list of 1"),
        (lambda: RolloutTrials(["w1"], {"max_new_tokens": 3}), "decode is a dict of 1"),
        (lambda: TextTrials(["w1"], batch_rows="all"), "batch_rows is the string 'all'"),
    ],
)
def test_another_type_is_refused_in_three_parts(call: Callable[[], object], happened: str) -> None:
    with pytest.raises(ArgumentError, match=happened) as caught:
        call()
    assert caught.value.allowed


def test_a_pass_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="batch_rows=0"):
        TextTrials(["w1"], batch_rows=0)
