"""Evidence: what is measured of a pair before anything is claimed, one number per problem and quantity.

It knows no model. Measured pairs and tabular simulators fill the same fields, so that the rules which decide
about a pair are those whose error rates are known from simulators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, final

import numpy as np
from jaxtyping import Float, Int

from reasonmech.claims.provenance import Provenance
from reasonmech.door import checked
from reasonmech.errors import DataError

Decoding = Literal["greedy", "sampled"]
DECODINGS: Final[tuple[Decoding, ...]] = ("greedy", "sampled")
PerProblem = Float[np.ndarray, " problem"]
CELLS: Final = ("bb", "bt", "tb", "tt")

ADDED_LATER: Final = ("roomy_thinking", "endless_base", "endless_thinking")
"""Of `Outcomes`: what evidence of earlier versions lacks."""

OWN: Final = "own moments"
"""Arm: the base, made to begin the thinking model's kinds at the moments of its splice."""
ANOTHER: Final = "another problem's moments"
ORACLE_FREE: Final = "oracle-free"
_OTHER_MOMENTS: Final = "other moments"


@final
@dataclass(frozen=True, eq=False)
class Cells:
    """The splice factorial: shares of right answers [problem], each cell named onset-executor.

    In every cell the onset policy chooses the kind of each sentence, which is begun by the same canonical
    word, and the executor writes the sentence; b is the base, t the thinking model.

    Raises:
        DataError: cells of different numbers of problems, or a value outside [0, 1].
    """

    bb: PerProblem
    bt: PerProblem
    tb: PerProblem
    tt: PerProblem

    def __post_init__(self) -> None:
        check_shares({f"cell {name}": getattr(self, name) for name in CELLS}, n=len(self.bb))

    @property
    def when(self) -> PerProblem:
        """Shapley value of the onsets, in [-1, 1]: the mean of their effects on either executor."""
        return ((self.tb - self.bb) + (self.tt - self.bt)) / 2

    @property
    def how(self) -> PerProblem:
        """Shapley value of the execution, in [-1, 1]; `when` + `how` = `total`."""
        return ((self.bt - self.bb) + (self.tt - self.tb)) / 2

    @property
    def total(self) -> PerProblem:
        """What both factors change together."""
        return self.tt - self.bb

    def simple_effects(self) -> dict[str, PerProblem]:
        """Each factor's effect where the other one is the base's, and where it is the thinking model's."""
        return {
            "when | base executes": self.tb - self.bb,
            "when | thinking executes": self.tt - self.bt,
            "how | base decides": self.bt - self.bb,
            "how | thinking decides": self.tt - self.tb,
        }


@final
@dataclass(frozen=True, eq=False)
class Outcomes:
    """What both models and their splices answer under one decoding; shares of right answers [problem].

    Attributes:
        base, thinking: free runs, as the task's grader has it.
        reached_base, reached_thinking: right, or the last value that was worked out is the answer: what is
            left when how the answer is stated does not count.
        roomy_base, roomy_thinking: free runs with twice the tokens; None for the thinking model in evidence
            of before it had such a run.
        cells: the splices, graded in the same way.
        verified: the splices, where an answer counts only with every step before it right; None where no
            step can be verified.
        endless_base, endless_thinking: shares of texts that are cut off with twice the tokens, too; none of
            two models that are one, which are cut off alike. None in evidence of before they were counted.

    Raises:
        DataError: different numbers of problems, or a value outside [0, 1].
    """

    base: PerProblem
    thinking: PerProblem
    reached_base: PerProblem
    reached_thinking: PerProblem
    roomy_base: PerProblem
    cells: Cells
    verified: Cells | None = None
    roomy_thinking: PerProblem | None = None
    endless_base: PerProblem | None = None
    endless_thinking: PerProblem | None = None

    def __post_init__(self) -> None:
        runs = ("base", "thinking", "reached_base", "reached_thinking", "roomy_base")
        n = len(self.base)
        check_shares({name: getattr(self, name) for name in runs}, n=n)
        later = {name: getattr(self, name) for name in ADDED_LATER}
        check_shares({name: values for name, values in later.items() if values is not None}, n=n)
        for name, cells in (("cells", self.cells), ("verified", self.verified)):
            if cells is not None and len(cells.bb) != n:
                raise DataError(f"{name} of {len(cells.bb)} problems, free runs of {n}", allowed="the same")

    @property
    def gap(self) -> PerProblem:
        """thinking - base, free runs."""
        return self.thinking - self.base

    @property
    def reached_gap(self) -> PerProblem:
        """The gap where how the answer is stated does not count."""
        return self.reached_thinking - self.reached_base

    @property
    def roomy_gap(self) -> PerProblem:
        """The gap where both models have twice the tokens, or the base alone where only it was given them."""
        return (self.thinking if self.roomy_thinking is None else self.roomy_thinking) - self.roomy_base

    @property
    def outside(self) -> PerProblem:
        """The part of the gap that lies in no splice: gap - `cells.total`, in [-2, 2]."""
        return self.gap - self.cells.total


@final
@checked
@dataclass(frozen=True, eq=False)
class Sharpening:
    """How much of the difference of the two next-token distributions is one of temperature.

    On model-chosen tokens of texts of both models, teacher-forced. The temperature is fitted on other
    problems than those measured here.

    Attributes:
        temperature: at which the base's distribution is nearest to the thinking model's.
        kl: [problem] KL(thinking || base), nats per token.
        tempered_kl: [problem] the same for the base at that temperature.
        argmax_differs: [problem] share of tokens whose most probable continuation differs between the models
            by more than rounding.
        tempered: [problem] share of right answers of the base sampled at that temperature.
    """

    temperature: float
    kl: PerProblem
    tempered_kl: PerProblem
    argmax_differs: PerProblem
    tempered: PerProblem


@final
@dataclass(frozen=True, eq=False)
class Execution:
    """Sentences carried out as they should be after a forced onset, on the same texts for both models.

    Attributes:
        n: [problem] onsets forced in texts on this problem.
        base, thinking: [problem] those that were carried out.

    Raises:
        DataError: different numbers of problems, more carried out than forced, or none forced.
    """

    n: Int[np.ndarray, " problem"]
    base: Float[np.ndarray, " problem"]
    thinking: Float[np.ndarray, " problem"]

    def __post_init__(self) -> None:
        for name, hits in (("base", self.base), ("thinking", self.thinking)):
            if hits.shape != self.n.shape or (hits > self.n).any() or (hits < 0).any():
                raise DataError(f"{name}: sentences carried out do not fit those forced", allowed="0 to n")
        if not self.n.sum():
            raise DataError("no onset was forced", do="leave the behaviour out")


@final
@checked
@dataclass(frozen=True)
class Check:
    """An integrity check: what was looked at, and whether it held.

    Attributes:
        detail: what was seen, with numbers.
    """

    name: str
    passed: bool
    detail: str


@final
@checked
@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that a verdict on a pair rests on.

    Attributes:
        pair: its name.
        problems: [problem] ids, in the order of every array.
        outcomes: by decoding.
        sharpening: None where neither model has a distribution to compare.
        execution: by behaviour; empty where no onset can be forced.
        arms: name -> shares of right answers [problem] of the base under a controller, greedy: `OWN`,
            `ANOTHER`, `ORACLE_FREE`, `other_moments(draw)`, or an arm of a hybrid; empty where none was run.
        checks: integrity checks.
        leak: tokens of each sentence that the thinking model wrote, the base writing the rest -> shares of
            right answers [problem], greedy; empty where it was not measured.
        coalitions: who was the thinking model's, the others being the base's -> shares of right answers
            [problem], greedy: of onsets by the behaviour that was due, and of the executor.
        same: two arms -> whether they write one text [problem]; empty where that was not looked at.
        constant: [problem] 1 where the right answer is the one that most problems have: what is right of
            whoever says that answer to all; None in evidence of before it was kept.
        notes: what a reader of a verdict must know: texts that were cut off, what was left out and why.
        provenance: what was run; None of evidence that was made, not measured.

    Raises:
        DataError: no outcome of greedy decoding, or arrays that do not fit the problems.
    """

    pair: str
    problems: tuple[str, ...]
    outcomes: Mapping[Decoding, Outcomes]
    sharpening: Sharpening | None
    execution: Mapping[str, Execution] = field(default_factory=dict)
    arms: Mapping[str, PerProblem] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    leak: Mapping[int, PerProblem] = field(default_factory=dict)
    coalitions: Mapping[tuple[str, ...], PerProblem] = field(default_factory=dict)
    same: Mapping[str, PerProblem] = field(default_factory=dict)
    constant: PerProblem | None = None
    notes: tuple[str, ...] = ()
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        missing = {"greedy", "sampled"} - set(self.outcomes)
        if missing:
            raise DataError(f"no outcomes of decoding {', '.join(sorted(missing))}", allowed="both")
        n = len(self.problems)
        for decoding, outcomes in self.outcomes.items():
            if len(outcomes.base) != n:
                raise DataError(f"{decoding}: {len(outcomes.base)} problems, of {n}", allowed="all of them")
        check_shares({f"arm {name}": values for name, values in self.arms.items()}, n=n)
        check_shares({f"leak {m}": values for m, values in self.leak.items()}, n=n)
        check_shares({f"coalition {who}": values for who, values in self.coalitions.items()}, n=n)
        if self.constant is not None:
            check_shares({"the most frequent answer": self.constant}, n=n)
        check_shares({f"same text {arms}": values for arms, values in self.same.items()}, n=n)

    @property
    def n(self) -> int:
        """Number of problems."""
        return len(self.problems)

    def other_moments(self) -> Float[np.ndarray, "draw problem"]:
        """Every draw of the null of `OWN`; none where it was not run."""
        drawn = [values for name, values in self.arms.items() if name.startswith(_OTHER_MOMENTS)]
        return np.array(drawn).reshape(len(drawn), self.n)


def other_moments(draw: int) -> str:
    """Name of the arm that has the thinking model's kinds at moments drawn among all of its text's."""
    return f"{_OTHER_MOMENTS} {draw:02}"


def check_shares(arrays: Mapping[str, np.ndarray], *, n: int) -> None:
    """Refuse arrays that are not [problem] shares.

    Raises:
        DataError: names the array.
    """
    for name, values in arrays.items():
        if values.shape != (n,):
            raise DataError(f"{name} has shape {values.shape}", allowed=f"({n},), a share per problem")
        if not ((values >= 0) & (values <= 1)).all():
            raise DataError(f"{name} has values outside [0, 1]", allowed="shares of right answers")
