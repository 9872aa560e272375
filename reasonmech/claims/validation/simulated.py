"""Evidence of a tabular case: what measuring it would give, with the noise of a measurement and no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from reasonmech.claims.evidence import (
    CELLS,
    DECODINGS,
    Cells,
    Check,
    Decoding,
    Evidence,
    Execution,
    Outcomes,
    PerProblem,
    Sharpening,
)
from reasonmech.claims.validation.simulated_checks import (
    DIFFERING,
    Arms,
    SimulatedArm,
    broken_arms,
    check_arms,
)
from reasonmech.claims.validation.tabular_case import TabularCase
from reasonmech.claims.validation.token_table import (
    Visits,
    argmax_share,
    drawn_visits,
    expected_visits,
    fit_temperature,
    kl_per_token,
    shifted_share,
)
from reasonmech.simulators import (
    ReasonerWorld,
    TabularPolicy,
    TabularRollouts,
    accuracy_by_items,
    simulate,
)

TEMPERATURE: Final[Mapping[Decoding, float]] = {"greedy": 0.0, "sampled": 1.0}
FORCED: Final = ("step", "check", "backtrack")
MANY: Final = 256
_TUNING: Final = 100  # problems that the temperature is fitted on


@final
@dataclass(frozen=True)
class CaseSize:
    """How much is measured of a case.

    Attributes:
        problems: of the confirmation split.
        samples: per problem, at T = 1.
        forced: onsets of a behaviour, per problem.
    """

    problems: int = 300
    samples: int = 4
    forced: int = 1


@final
@dataclass(frozen=True, eq=False)
class Exhibit:
    """Evidence, and what the published rules read besides; None: it cannot be had of this pair.

    Attributes:
        many: right answers of base and thinking model in `MANY` samples of each problem.
        shifted: share of tokens of the thinking model's texts at which the two differ (JS > 0.1).
        unchanged: share of weights that bfloat16 does not tell apart.
        recovered: share of the gap that a hybrid with trained vectors recovers, of a trained pair.
        keywords: share of sentences that begin with a keyword under -1 and +1 times a difference of means.
    """

    evidence: Evidence
    many: tuple[PerProblem, PerProblem] | None = None
    shifted: float | None = None
    unchanged: float | None = None
    recovered: float | None = None
    keywords: tuple[float, float] | None = None


def simulate_exhibit(case: TabularCase, *, name: str, seed: int, size: CaseSize | None = None) -> Exhibit:
    """Draw a measurement of a case; the arms share their chance, as measured ones do.

    The hybrid's arm `full` is one that decides as the thinking model does and executes as the base: the best
    that a controller of moments can be.
    """
    size = size or CaseSize()
    rng = np.random.default_rng([seed, 1])
    measured = _Measurement(case, size, seed)
    outcomes: dict[Decoding, Outcomes] = {name: measured.outcomes(name) for name in TEMPERATURE}
    evidence = Evidence(
        pair=name,
        problems=tuple(f"{name}/{i}" for i in range(size.problems)),
        outcomes=outcomes,
        sharpening=_sharpening(case, measured, rng),
        execution=_execution(case, size, rng),
        arms={"full": outcomes["greedy"].cells.tb},
        checks=measured.checks(),
        constant=measured.constant(),
    )
    sizes = measured.run(case.base.at(1.0)).items
    many = tuple(
        rng.binomial(
            MANY, accuracy_by_items(model.at(1.0), case.world)[np.searchsorted(case.world.items, sizes)]
        )
        for model in (case.base, case.thinking)
    )
    visits = _visits(case, [measured.run(case.thinking.at(1.0))], rng)
    return Exhibit(evidence, (many[0], many[1]), float(shifted_share(case, visits.total)))


@final
class _Measurement:
    """The runs of a case, each made once."""

    def __init__(self, case: TabularCase, size: CaseSize, seed: int) -> None:
        self.case, self._effort, self._seed = case, size, seed
        self._runs: dict[tuple[TabularPolicy, ReasonerWorld, int], TabularRollouts] = {}
        self._arms: dict[Decoding, Arms] = {}
        of_one = case.fault != DIFFERING and np.random.default_rng([seed, 2]).random() < 0.5
        self._broken: Decoding = "greedy" if of_one else "sampled"

    def run(
        self, policy: TabularPolicy, *, world: ReasonerWorld | None = None, samples: int | None = None
    ) -> TabularRollouts:
        world, samples = world or self.case.world, samples or self._effort.samples
        key = (policy, world, samples)
        if key not in self._runs:
            n = self._effort.problems
            self._runs[key] = simulate(policy, world, problems=n, samples=samples, seed=self._seed)
        return self._runs[key]

    def arms(self, decoding: Decoding) -> Arms:
        """Both models and their splices, broken where the case has a fault that breaks them."""
        if decoding not in self._arms:
            case, t, samples = self.case, TEMPERATURE[decoding], self._samples(decoding)
            policies = {"base": case.base.at(t), "thinking": case.thinking.at(t)}
            policies |= {cell: case.splice(cell, t) for cell in CELLS}
            arms = {
                name: SimulatedArm(policy, case.world, self._seed, self.run(policy, samples=samples))
                for name, policy in policies.items()
            }
            if decoding == self._broken:
                arms = broken_arms(arms, case.fault, np.random.default_rng([self._seed, 3]))
            self._arms[decoding] = arms
        return self._arms[decoding]

    def checks(self) -> tuple[Check, ...]:
        """The checks of integrity that these runs allow."""
        case = self.case
        arms: dict[Decoding, Arms] = {decoding: self.arms(decoding) for decoding in DECODINGS}
        base = arms["sampled"]["base"].runs
        boundaries, onsets = (getattr(base, name).sum(axis=(0, 1)) for name in ("boundaries", "onsets"))
        visits = expected_visits(replace(case, wording=0.0), boundaries, onsets)
        nats = float(kl_per_token(case, visits) * visits.tokens)
        return check_arms(arms, case.world.max_sentences, case.fault, nats, is_one_model=case.is_one_model)

    def constant(self) -> PerProblem:
        """Where the most frequent answer is right: as often as it may be, where a guess was."""
        case, rng = self.case, np.random.default_rng([self._seed, 4])
        arms = self.arms("greedy")
        better = max((arms[name] for name in ("thinking", "base")), key=lambda arm: arm.runs.correct.mean())
        runs, guess = better.runs, better.policy.execution.guess
        is_guessed = (runs.correct & ~runs.verified)[:, 0]
        luck = rng.random(len(is_guessed))
        where = min(1.0, case.constant / guess) if guess else 1.0
        elsewhere = max(0.0, (case.constant - guess) / (1 - guess)) if guess < 1 else 1.0
        chance = np.where(is_guessed, where, elsewhere)
        chance = np.where(runs.verified[:, 0], case.constant, chance)
        return (luck < chance).astype(float)

    def _samples(self, decoding: Decoding) -> int:
        return 1 if decoding == "greedy" else self._effort.samples

    def tuning(self, policy: TabularPolicy) -> TabularRollouts:
        return simulate(policy, self.case.world, problems=_TUNING, seed=self._seed + 1)

    def outcomes(self, decoding: Decoding) -> Outcomes:
        case, t, samples = self.case, TEMPERATURE[decoding], self._samples(decoding)
        arms = {name: arm.runs for name, arm in self.arms(decoding).items()}
        base, thinking, cells = arms["base"], arms["thinking"], {cell: arms[cell] for cell in CELLS}
        roomy = [
            self.run(model.at(t), world=case.roomy, samples=samples) for model in (case.base, case.thinking)
        ]
        endless = [_share(run.cut_off & (not case.is_one_model)) for run in roomy]
        return Outcomes(
            base=_share(base.correct),
            thinking=_share(thinking.correct),
            reached_base=_share(base.reached),
            reached_thinking=_share(thinking.reached),
            roomy_base=_share(roomy[0].correct),
            roomy_thinking=_share(roomy[1].correct),
            endless_base=endless[0],
            endless_thinking=endless[1],
            cells=Cells(**{cell: _share(run.correct) for cell, run in cells.items()}),
            verified=Cells(**{cell: _share(run.verified) for cell, run in cells.items()}),
        )


def _share(hits: np.ndarray) -> PerProblem:
    return hits.mean(axis=1)


def _sharpening(case: TabularCase, measured: _Measurement, rng: np.random.Generator) -> Sharpening:
    policies = case.base.at(1.0), case.thinking.at(1.0)
    fitted_on = _visits(case, [measured.tuning(policy) for policy in policies], rng)
    temperature = fit_temperature(case, fitted_on.total)
    visits = _visits(case, [measured.run(policy) for policy in policies], rng)
    return Sharpening(
        temperature=temperature,
        kl=kl_per_token(case, visits),
        tempered_kl=kl_per_token(case, visits, temperature=temperature),
        argmax_differs=argmax_share(case, visits),
        tempered=_share(measured.run(case.base.at(temperature)).correct),
    )


def _visits(case: TabularCase, texts: Sequence[TabularRollouts], rng: np.random.Generator) -> Visits:
    """The tokens of several models' texts on the same problems."""
    boundaries, onsets = (
        np.sum([getattr(each, name).sum(axis=1) for each in texts], axis=0)
        for name in ("boundaries", "onsets")
    )
    return drawn_visits(case, boundaries, onsets, rng)


def _execution(case: TabularCase, size: CaseSize, rng: np.random.Generator) -> dict[str, Execution]:
    """Sentences carried out at T = 1 after forced onsets, under chance that both models share."""
    base, thinking = case.base.at(1.0).execution, case.thinking.at(1.0).execution
    executed = {}
    for kind in FORCED:
        luck = rng.random((size.problems, size.forced))
        hits = [(luck < getattr(skills, kind)).sum(axis=1).astype(float) for skills in (base, thinking)]
        executed[kind] = Execution(np.full(size.problems, size.forced), *hits)
    return executed
