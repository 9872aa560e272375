"""A chain-like world as a finite Markov chain: its states, and what each kind of sentence does to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.simulators.policy import (
    BACKTRACK,
    CHECK,
    CONCLUDE,
    STEP,
    Skills,
    Status,
    check_probabilities,
)


@checked
@final
@dataclass(frozen=True)
class ReasonerWorld:
    """Problems whose items are worked off one after another, and an environment that slips.

    Attributes:
        items: numbers of items, all equally likely.
        slip: probability that the environment replaces the value of a step by one that is wrong for the
            equation as written.
        digits: size of the value alphabet; two wrong values agree by chance with probability
            1 / (digits - 1).
        max_sentences: longest solution; what is cut off there is wrong.

    Raises:
        DataError: a value outside its range.
    """

    items: tuple[int, ...] = (3, 4, 5)
    slip: float = 0.15
    digits: int = 10
    max_sentences: int = 64

    def __post_init__(self) -> None:
        check_probabilities(self, slip=self.slip)
        if not self.items or min(self.items) < 1 or self.digits < 3 or self.max_sentences < 1:
            raise DataError(
                f"a world of {self}",
                allowed="items of at least 1, digits >= 3, max_sentences >= 1",
                do="describe a world in which a problem can be posed, and a value be wrong in two ways",
            )


class WorldState(NamedTuple):
    """What stands at a sentence boundary.

    Attributes:
        done: items worked off.
        carried: an earlier wrong value was built upon. It can no longer be repaired: checks and backtracks
            see the latest equation as written. (Two errors never cancel in this world.)
        wrong: the latest value is wrong for its equation as written.
        status: what is open about it.
    """

    done: int
    carried: bool
    wrong: bool
    status: Status


START = WorldState(0, False, False, Status.SETTLED)


class Ended(NamedTuple):
    """An answer was given."""

    right: bool


def outcomes(
    state: WorldState, kind: int, *, items: int, skills: Skills, world: ReasonerWorld
) -> Iterator[tuple[WorldState | Ended, float]]:
    """What a sentence of `kind` leads to, with probabilities that sum to 1.

    Slips hit steps alone. A check re-computes the latest value and finds a contradiction when the two differ:
    it misses a wrong value only by being wrong in the same way. A backtrack puts its own value in place of
    the standing one.

    Args:
        kind: index into `KINDS`.
        items: of the problem.
    """
    if kind == STEP:
        right = (1.0 - world.slip) * skills.step
        carried = (
            state.carried or state.wrong
        )  # a step builds on the latest value: if wrong, it is lost for good
        yield WorldState(state.done + 1, carried, False, Status.UNVERIFIED), right
        yield WorldState(state.done + 1, carried, True, Status.UNVERIFIED), 1.0 - right
    elif kind == CHECK:
        # Beside a wrong value a failed check agrees by chance: 1 of digits - 1 wrong values is the same.
        agrees = (1.0 - skills.check) / (world.digits - 1) if state.wrong else skills.check
        yield state._replace(status=Status.SETTLED), agrees
        yield state._replace(status=Status.CONTRADICTED), 1.0 - agrees
    elif kind == BACKTRACK:
        yield state._replace(wrong=False, status=Status.SETTLED), skills.backtrack
        yield state._replace(wrong=True, status=Status.SETTLED), 1.0 - skills.backtrack
    elif kind == CONCLUDE:
        right = skills.guess if state.done < items else skills.conclude * (not (state.carried or state.wrong))
        yield Ended(True), right
        yield Ended(False), 1.0 - right
    else:  # a hedge changes nothing
        yield state, 1.0
