"""Tabular policies: when a kind of sentence begins (onset), and whether it is carried out (execution)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Final, Protocol, final

import numpy as np
from jaxtyping import Float

from reasonmech.errors import DataError

KINDS: Final = ("step", "check", "backtrack", "conclude", "uncertain")
STEP, CHECK, BACKTRACK, CONCLUDE, UNCERTAIN = range(len(KINDS))
_URGENCY: Final = (BACKTRACK, CHECK, STEP, CONCLUDE)


class Status(IntEnum):
    """What is open about the standing value: a step nobody checked, a contradiction not yet resolved, or
    nothing."""

    UNVERIFIED = 0
    CONTRADICTED = 1
    SETTLED = 2


class Onset(Protocol):
    """Decides what kind of sentence comes next from what is open, and never from whether the value is
    right."""

    def table(self) -> Float[np.ndarray, "status left kind"]:
        """P(kind | status, whether items are left): the last axis is in the order of KINDS and sums to 1."""
        ...


def check_probabilities(owner: object, **values: float) -> None:
    """Refuse numbers outside [0, 1].

    Raises:
        DataError: names the field and its value.
    """
    for name, value in values.items():
        if not 0.0 <= value <= 1.0:
            raise DataError(
                f"{type(owner).__name__}({name}={value})",
                allowed="0 to 1",
                do=f"give {name} as a probability",
            )


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
        hazard = (self.step, self.check, self.backtrack, self.conclude)
        can = opportunities()
        table = np.zeros(can.shape)
        rest = np.ones(can.shape[:-1])
        for kind in _URGENCY:
            table[..., kind] = rest * can[..., kind] * hazard[kind]
            rest = rest - table[..., kind]
        table[..., UNCERTAIN] = rest
        return table


def opportunities() -> np.ndarray:
    """Whether a kind can begin: bool [status, left, kind]; an idle hedge always can."""
    can = np.zeros((len(Status), 2, len(KINDS)), dtype=bool)
    can[:, 1, STEP] = True
    can[Status.UNVERIFIED, :, CHECK] = True
    can[Status.CONTRADICTED, :, BACKTRACK] = True
    can[:, :, [CONCLUDE, UNCERTAIN]] = True
    return can


@final
@dataclass(frozen=True)
class Mixture:
    """At every boundary the thinking policy decides with probability `share`, else the base: a dial of
    *when*.

    P(kind) = share P_thinking(kind) + (1 - share) P_base(kind): decisions are mixed, not hazards.

    Raises:
        DataError: the share is not within [0, 1].
    """

    base: Onset
    thinking: Onset
    share: float

    def __post_init__(self) -> None:
        check_probabilities(self, share=self.share)

    def table(self) -> Float[np.ndarray, "status left kind"]:
        return (1.0 - self.share) * self.base.table() + self.share * self.thinking.table()


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
    thinks = asdict(thinking)
    return Skills(
        **{name: (1.0 - share) * value + share * thinks[name] for name, value in asdict(base).items()}
    )


@final
@dataclass(frozen=True)
class TabularPolicy:
    """A reasoner without a network: who decides what comes next, and how well it is done."""

    onset: Onset
    execution: Skills
