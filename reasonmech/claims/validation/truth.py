"""The truth of a tabular case: every number that a verdict rests on, by enumeration, and what follows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Final, NamedTuple, final

import numpy as np

from reasonmech.claims.claim import Rule, Verdict
from reasonmech.claims.evidence import CELLS, Decoding
from reasonmech.claims.validation.simulated import FORCED, TEMPERATURE
from reasonmech.claims.validation.tabular_case import TabularCase
from reasonmech.claims.validation.token_table import (
    argmax_share,
    expected_visits,
    fit_temperature,
    kl_per_token,
)
from reasonmech.simulators import KINDS, Expectations, Factorial, TabularPolicy, accuracy, expectations

NEAR: Final = (
    Rule(margin=0.04, minor=0.18, sharpened=0.92, argmax=0.015, execution=0.04),
    Rule(margin=0.06, minor=0.22, sharpened=0.88, argmax=0.025, execution=0.06),
)
"""Either side of the default thresholds: a verdict is wrong where no rule between the two bears it out."""

CLEAR: Final = (
    Rule(margin=0.02, minor=0.10, sharpened=0.95, argmax=0.01, execution=0.02),
    Rule(margin=0.15, minor=0.30, sharpened=0.80, argmax=0.04, execution=0.10),
)
"""A case is clear where all rules between these two agree: there a verdict is expected of 300 problems."""

_TEMPERED: Final = 1.02  # a temperature nearer to 1 than this factor sharpens nothing
_SAME: Final = 1e-6  # nats per token


class ExactOutcomes(NamedTuple):
    """The numbers of one decoding, as shares of problems.

    Attributes:
        gap: thinking - base; `reached`, `roomy` what is left of it where the statement of the answer, and
            the length, do not count.
        gains: what base and thinking model gain with more room.
        endless: shares of their texts that are cut off with more room, too.
        verified: the splices where an answer counts only with every step worked out.
        unexplained: right answers of the better model without it, beyond those that the most frequent answer
            would have on the same texts.
    """

    gap: float
    reached: float
    roomy: float
    gains: tuple[float, float]
    endless: tuple[float, float]
    factorial: Factorial
    verified: Factorial
    unexplained: float


class ExactSharpening(NamedTuple):
    """What the temperature that explains most leaves unexplained."""

    temperature: float
    kl: float
    left: float
    argmax: float
    accuracy: float


@final
@dataclass(frozen=True)
class Truth:
    """What is true of a case.

    Attributes:
        verdict: at the rule's own thresholds.
        allowed: verdicts that thresholds a little to either side (`NEAR`) bear out.
        clear: whether thresholds far to either side (`CLEAR`) bear out the same, and both decodings do.
        splits: the exact factorial by decoding.
    """

    verdict: Verdict
    allowed: frozenset[Verdict]
    clear: bool
    splits: Mapping[Decoding, Factorial]


@final
@dataclass(frozen=True)
class ExactCase:
    """Exact numbers of a case."""

    case: TabularCase

    @cached_property
    def outcomes(self) -> dict[Decoding, ExactOutcomes]:
        """By decoding."""
        return {name: self._outcomes(temperature) for name, temperature in TEMPERATURE.items()}

    def _outcomes(self, temperature: float) -> ExactOutcomes:
        case = self.case
        base, thinking = (self._run(model.at(temperature)) for model in (case.base, case.thinking))
        cells = [self._run(case.splice(cell, temperature, leak=0.0)) for cell in CELLS]
        roomy = [
            expectations(model.at(temperature), case.roomy) if run.cut_off else run
            for model, run in ((case.base, base), (case.thinking, thinking))
        ]
        better = cells[-1] if cells[-1].accuracy >= cells[0].accuracy else cells[0]
        apart = not case.is_one_model  # one model is cut off alike, and no room parts it from itself
        return ExactOutcomes(
            gap=thinking.accuracy - base.accuracy,
            reached=thinking.reached - base.reached,
            roomy=roomy[1].accuracy - roomy[0].accuracy,
            gains=(roomy[0].accuracy - base.accuracy, roomy[1].accuracy - thinking.accuracy),
            endless=(roomy[0].cut_off * apart, roomy[1].cut_off * apart),
            factorial=Factorial(*(cell.accuracy for cell in cells)),
            verified=Factorial(*(cell.verified for cell in cells)),
            unexplained=better.accuracy - better.verified - case.constant * (1 - better.verified),
        )

    @cached_property
    def _runs(self) -> dict[TabularPolicy, Expectations]:
        return {}

    def _run(self, policy: TabularPolicy) -> Expectations:
        if policy not in self._runs:
            self._runs[policy] = expectations(policy, self.case.world)
        return self._runs[policy]

    @cached_property
    def execution(self) -> tuple[float, float]:
        """Largest rise and largest fall of execution after a forced onset, at T = 1."""
        base, thinking = self.case.base.at(1.0).execution, self.case.thinking.at(1.0).execution
        changes = [getattr(thinking, kind) - getattr(base, kind) for kind in FORCED]
        return max(changes), -min(changes)

    @cached_property
    def sharpening(self) -> ExactSharpening:
        """At the temperature that is nearest on both models' texts."""
        case = self.case
        runs = [self._run(model.at(1.0)) for model in (case.base, case.thinking)]
        boundaries = runs[0].boundaries + runs[1].boundaries
        onsets = _onsets(runs[0]) + _onsets(runs[1])
        visits = expected_visits(case, boundaries, onsets)
        temperature = fit_temperature(case, visits)
        kl = float(kl_per_token(case, visits))
        tempered = accuracy(case.base.at(temperature), case.world)
        return ExactSharpening(
            temperature=temperature,
            kl=kl,
            left=float(kl_per_token(case, visits, temperature=temperature)) / kl if kl > _SAME else 1.0,
            argmax=float(argmax_share(case, visits)),
            accuracy=runs[1].accuracy - tempered,
        )


def _onsets(run: Expectations) -> np.ndarray:
    return np.array([run.onsets[kind] for kind in KINDS])


def truth_of(case: TabularCase, rule: Rule | None = None) -> Truth:
    """What exact numbers say, by the definitions of the verdicts."""
    exact = ExactCase(case)
    splits: dict[Decoding, Factorial] = {
        name: outcomes.factorial for name, outcomes in exact.outcomes.items()
    }
    if case.fault:  # whatever the models are, the measurement is none of them
        return Truth("INVALID", frozenset({"INVALID"}), True, splits)
    near, clear = (_verdicts(exact, *ends) for ends in (NEAR, CLEAR))
    verdict = verdict_of(exact, rule or Rule())
    is_clear = len(clear) == 1 and not (verdict in ("WHEN", "HOW", "BOTH") and _contradicts(exact, CLEAR[0]))
    return Truth(verdict, near, is_clear, splits)


def _contradicts(exact: ExactCase, rule: Rule) -> bool:
    """Whether a cause is another one under the other decoding, or pulls the other way there."""
    greedy, sampled = exact.outcomes["greedy"], exact.outcomes["sampled"]
    pairs = [(greedy.factorial.when, greedy.factorial.how), (sampled.factorial.when, sampled.factorial.how)]
    pulls = [when * how < 0 and min(abs(when), abs(how)) > rule.margin for when, how in pairs]
    causes = {_cause(greedy.factorial, rule), _cause(sampled.factorial, rule)}
    turns = greedy.gap * sampled.gap < 0 and min(abs(greedy.gap), abs(sampled.gap)) > rule.margin
    return any(pulls) or turns or causes == {"WHEN", "HOW"}


def _verdicts(exact: ExactCase, first: Rule, second: Rule) -> frozenset[Verdict]:
    """The verdicts at every combination of the two rules' thresholds."""
    names = ("margin", "minor", "sharpened", "argmax", "execution")
    ends = [[getattr(rule, name) for rule in (first, second)] for name in names]
    between = [replace(first, **dict(zip(names, values, strict=True))) for values in product(*ends)]
    return frozenset(verdict_of(exact, rule) for rule in between)


def verdict_of(exact: ExactCase, rule: Rule) -> Verdict:
    """The verdict that the exact numbers have at these thresholds; INCONCLUSIVE where no cause has a name."""
    greedy, sampled = exact.outcomes["greedy"], exact.outcomes["sampled"]
    if abs(greedy.gap) <= rule.margin and _is_sharpened(exact.sharpening, rule):
        return "SHARPENED"
    if max(abs(greedy.gap), abs(sampled.gap)) <= rule.margin:
        by_limit = (greedy.roomy, sampled.roomy, *greedy.endless, *sampled.endless)
        factors = [part for each in (greedy, sampled) for part in (each.factorial.when, each.factorial.how)]
        return "INCONCLUSIVE" if max(map(abs, (*by_limit, *factors))) > rule.margin else "NEITHER"
    decisive = greedy if abs(greedy.gap) > rule.margin else sampled
    comes_to_ends = all(_is_small(share, decisive.gap, rule) for share in decisive.endless)
    left = (decisive.reached, decisive.roomy)
    if _is_small(left[0], decisive.gap, rule) or (comes_to_ends and _is_small(left[1], decisive.gap, rule)):
        return "FORMAT"
    parts = (*(decisive.gap - each for each in left), *decisive.gains)
    if not comes_to_ends or not all(_is_small(part, decisive.gap, rule) for part in parts):
        return "INCONCLUSIVE"  # part of it is one of format
    worked = decisive.verified
    if abs(decisive.factorial.total) > rule.margin >= abs(worked.total):
        # right without work: guesses only where one answer is as often right, and no work cancels
        is_guessed = max(abs(worked.when), abs(worked.how)) <= rule.margin
        is_guessed &= decisive.unexplained <= max(rule.margin, rule.minor * abs(decisive.factorial.total))
        return "NEITHER" if is_guessed else "INCONCLUSIVE"
    if not _is_small(decisive.gap - decisive.factorial.total, decisive.gap, rule):
        return "INCONCLUSIVE"  # too much of it lies in no splice
    cause = _cause(decisive.factorial, rule)
    rise, fall = exact.execution
    if decisive.gap < 0:
        rise = max(rise, fall)
    # onsets alone made the gap, and yet execution moved with it
    return "INCONCLUSIVE" if cause == "WHEN" and rise > rule.execution else cause


def _is_sharpened(measured: ExactSharpening, rule: Rule) -> bool:
    is_other = measured.kl > _SAME and abs(math.log(measured.temperature)) > math.log(_TEMPERED)
    is_same = measured.argmax <= rule.argmax and measured.left <= 1 - rule.sharpened
    return is_other and is_same and abs(measured.accuracy) <= rule.margin


def _is_small(part: float, whole: float, rule: Rule) -> bool:
    return abs(part) <= max(rule.margin, rule.minor * abs(whole))


def _cause(cells: Factorial, rule: Rule) -> Verdict:
    is_small = {name: _is_small(getattr(cells, name), cells.total, rule) for name in ("when", "how")}
    if not any(is_small.values()):  # parts that pull against each other are no "both"
        return "BOTH" if cells.when * cells.how > 0 else "INCONCLUSIVE"
    if is_small["how"] and abs(cells.when) > rule.margin:
        return "WHEN"
    return "HOW" if is_small["when"] and abs(cells.how) > rule.margin else "INCONCLUSIVE"
