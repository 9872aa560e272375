"""Tabular policies: when a kind of sentence begins (onset), and whether it is carried out (execution)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Final, Protocol, final

import numpy as np
from jaxtyping import Bool, Float

from reasonmech.arguments import check_real
from reasonmech.door import checked
from reasonmech.errors import DataError

KINDS: Final = ("step", "check", "backtrack", "conclude", "uncertain")
STEP, CHECK, BACKTRACK, CONCLUDE, UNCERTAIN = range(len(KINDS))
_URGENCY: Final = (BACKTRACK, CHECK, STEP, CONCLUDE)


class Status(IntEnum):
    """What is open about the standing value: an unchecked step, an unresolved contradiction, or nothing."""

    UNVERIFIED = 0
    CONTRADICTED = 1
    SETTLED = 2


class OnsetPolicy(Protocol):
    """Decides what kind of sentence comes next from what is open, never from whether the value is right."""

    def table(self) -> Float[np.ndarray, "status left kind"]:
        """P(kind | status, whether items are left): the last axis is in the order of KINDS and sums to 1."""
        ...


def check_probabilities(owner: object, **values: float) -> None:
    """Refuse numbers outside [0, 1].

    Raises:
        ArgumentError: something that is no number.
        DataError: names the field and its value.
    """
    for name, value in values.items():
        check_real(value, name=f"{type(owner).__name__}'s {name}", allowed="a number from 0 to 1")
        if not 0.0 <= value <= 1.0:
            raise DataError(
                f"{type(owner).__name__}({name}={value})",
                allowed="0 to 1",
                do=f"give {name} as a probability",
            )


@checked
@final
@dataclass(frozen=True)
class Hazards:
    """Onset hazards: the probability of beginning a behaviour at an opportunity for it.

    At a boundary the open behaviours are offered in the order backtrack, check, step, conclude; the first
    that begins is the next sentence, and when none does the sentence is an idle hedge (`uncertain`).
    Opportunities: a contradiction not yet resolved (backtrack); a step that nothing has verified (check);
    items left (step); always (conclude: with items left it is a guess).

    Raises:
        DataError: a hazard is not within [0, 1].
    """

    step: float
    check: float
    backtrack: float
    conclude: float = 1.0

    def __post_init__(self) -> None:
        check_probabilities(self, **asdict(self))

    def table(self) -> Float[np.ndarray, "status left kind"]:
        """P(kind | status, whether items are left), in the order of `KINDS`."""
        hazard = (self.step, self.check, self.backtrack, self.conclude)
        can_begin = opportunities()
        table = np.zeros(can_begin.shape)
        undecided = np.ones(can_begin.shape[:-1])  # probability that nothing more urgent has begun
        for kind in _URGENCY:
            table[..., kind] = undecided * can_begin[..., kind] * hazard[kind]
            undecided = undecided - table[..., kind]
        table[..., UNCERTAIN] = undecided
        return table


def opportunities() -> Bool[np.ndarray, "status left kind"]:
    """Whether a kind can begin; an idle hedge always can."""
    can_begin = np.zeros((len(Status), 2, len(KINDS)), dtype=bool)
    can_begin[:, 1, STEP] = True
    can_begin[Status.UNVERIFIED, :, CHECK] = True
    can_begin[Status.CONTRADICTED, :, BACKTRACK] = True
    can_begin[:, :, [CONCLUDE, UNCERTAIN]] = True
    return can_begin


@final
@dataclass(frozen=True)
class Mixture:
    """A dial of *when*: at a boundary the thinking policy decides with probability `share`, else the base.

    P(kind) = share P_thinking(kind) + (1 - share) P_base(kind): decisions are mixed, not hazards.

    Raises:
        DataError: the share is not within [0, 1].
    """

    base: OnsetPolicy
    thinking: OnsetPolicy
    share: float

    def __post_init__(self) -> None:
        check_probabilities(self, share=self.share)

    def table(self) -> Float[np.ndarray, "status left kind"]:
        """P(kind | status, whether items are left), in the order of `KINDS`."""
        return (1.0 - self.share) * self.base.table() + self.share * self.thinking.table()


@checked
@final
@dataclass(frozen=True)
class Skills:
    """Execution: the probability that a sentence, once begun, does what it should.

    Attributes:
        step: the stated value is right for the equation as written (before the environment's slip).
        check, backtrack: the re-computed value is right for the standing equation.
        conclude: with all items done, the standing value is given as the answer.
        guess: an answer given with items left is right.

    Raises:
        DataError: a probability is not within [0, 1].
    """

    step: float = 1.0
    check: float = 1.0
    backtrack: float = 1.0
    conclude: float = 1.0
    guess: float = 0.1

    def __post_init__(self) -> None:
        check_probabilities(self, **asdict(self))


def mix_skills(base: Skills, thinking: Skills, *, share: float) -> Skills:
    """The executor that is the thinking one in every sentence with probability `share`: a dial of *how*.

    A sentence makes one attempt, so its success under a mixture is the mixture of the two probabilities.

    Raises:
        DataError: the share is not within [0, 1].
    """
    check_probabilities(base, share=share)
    other = asdict(thinking)
    mixed = {name: (1.0 - share) * value + share * other[name] for name, value in asdict(base).items()}
    return Skills(**mixed)


@final
@dataclass(frozen=True)
class TabularPolicy:
    """A reasoner without a network: who decides what comes next, and how well it is done."""

    onset: OnsetPolicy
    execution: Skills
