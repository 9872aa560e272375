"""Tasks at the door: what `load_task`, `grade` and `parse` refuse, and what they say."""

from __future__ import annotations

import numpy as np
import pytest

import reasonmech as rm
from reasonmech.errors import ArgumentError, DataError, UnknownNameError
from reasonmech.rollout import Rollouts
from tests.unit.tasks.chain_text import CAREFUL, rollout


@pytest.mark.parametrize("verb", [rm.grade, rm.parse])
def test_rollouts_are_what_generate_returned(verb) -> None:
    assert len(verb(Rollouts([rollout(CAREFUL)], task="chain"))) == 1
    with pytest.raises(ArgumentError, match="rollouts is a list of 1") as raised:
        verb([rollout(CAREFUL)])
    assert "does not name its task" in raised.value.do
    with pytest.raises(ArgumentError, match="rollouts is the string"):
        verb("chain")
    with pytest.raises(DataError, match="1 rollouts of plain prompts") as plain:
        verb(Rollouts([rollout(CAREFUL)]))
    assert "chain" in plain.value.allowed and "rm.text.cut" in plain.value.do
    with pytest.raises(UnknownNameError, match="task 'chian'"):
        verb(Rollouts([rollout(CAREFUL)], task="chian"))


def test_problems_are_drawn_by_name_and_number() -> None:
    with pytest.raises(UnknownNameError, match="task 'chian'"):
        rm.load_task("chian", n=3)
    with pytest.raises(ArgumentError, match="name is a ProblemSet"):
        rm.load_task(rm.load_task("chain", n=3), n=3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"n is the number 2\.5"):
        rm.load_task("chain", n=2.5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="n is the truth value True"):
        rm.load_task("chain", n=True)
    assert len(rm.load_task("chain", n=np.int64(2))) == 2  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="seed is the string"):
        rm.load_task("chain", n=3, seed="0")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="split 'dev'"):
        rm.load_task("chain", n=3, split="dev")  # type: ignore[arg-type]
