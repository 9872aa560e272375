"""Checks of integrity on simulated runs, and the faults that they are there for, each made on purpose.

What reads tokens or activations (encodings, answers in prompts, a zero vector, first words of splices) has
nothing to read in a simulator. The others look at the runs of a simulated measurement as those of `measuring`
look at texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, final

import numpy as np

from reasonmech.claims.evidence import DECODINGS, Check, Decoding
from reasonmech.simulators import ReasonerWorld, TabularPolicy, TabularRollouts, simulate

DIFFERING: Final = "arms that should differ do"
_FEW: Final = 16  # problems that are run again
_SEEN: Final = 20.0  # nats over all texts, from which two models write the same texts with p < 1e-8
_OTHER: Final = 1_000_003  # what is added to a seed for chance that should have been the same


@final
@dataclass(frozen=True)
class SimulatedArm:
    """One arm of a measurement, as it was run.

    Attributes:
        policy, world, seed: what was run.
        runs: what came of it.
    """

    policy: TabularPolicy
    world: ReasonerWorld
    seed: int
    runs: TabularRollouts

    def again(
        self, *, world: ReasonerWorld | None = None, seed: int | None = None, problems: int | None = None
    ) -> SimulatedArm:
        """The arm, run again, with something changed."""
        n, samples = self.runs.correct.shape
        world, seed = world or self.world, self.seed if seed is None else seed
        runs = simulate(self.policy, world, problems=min(problems or n, n), samples=samples, seed=seed)
        return SimulatedArm(self.policy, world, seed, runs)


Arms = Mapping[str, SimulatedArm]  # "base", "thinking" and the cells of one decoding
Broken = Callable[[Arms, str], Arms]


def _on_other_problems(arms: Arms, name: str) -> Arms:
    return {**arms, name: arms[name].again(seed=arms[name].seed + _OTHER)}


def _with_less_room(arms: Arms, name: str) -> Arms:
    """One sentence fewer than the longest text of the arm has."""
    arm = arms[name]
    world = replace(arm.world, max_sentences=max(int(arm.runs.sentences.max()) - 1, 1))
    return {**arms, name: arm.again(world=world)}


def _with_the_base(arms: Arms, _: str) -> Arms:
    return {**arms, "thinking": arms["base"]}


FAULTS: Final[Mapping[str, Broken | None]] = MappingProxyType(
    {
        "runs repeat": None,  # the run again has other chance
        "runs do not depend on the batch": None,
        "all arms answer the same problems": _on_other_problems,
        "same decoding in every arm": _with_less_room,
        DIFFERING: _with_the_base,
    }
)
"""What a check is for -> how arms are broken so; None: the fault lies in how they are run again."""


def broken_arms(arms: Arms, fault: str, rng: np.random.Generator) -> Arms:
    """The arms, one of them broken where the fault is one of arms."""
    broken = FAULTS[fault] if fault else None
    if broken is None:
        return arms
    long = [name for name, arm in arms.items() if arm.runs.sentences.max() > 1]  # what can be cut off
    return broken(arms, str(rng.choice(long or list(arms))))


def check_arms(
    arms: Mapping[Decoding, Arms], limit: int, fault: str, nats: float, *, is_one_model: bool
) -> tuple[Check, ...]:
    """Every check that simulated runs can pass or fail.

    Args:
        limit: sentences after which every arm is cut off.
        fault: of `FAULTS`; "": none.
        nats: between the models, over all of the base's sampled texts.
    """
    checks: list[Check] = []
    for decoding in DECODINGS:
        checks += _check_again(arms[decoding], decoding, fault)
    checks.append(_check_problems(arms))
    checks.append(_check_decoding(arms, limit))
    base, thinking = (arms["sampled"][role].runs for role in ("base", "thinking"))
    same = _differing(base, thinking) == 0
    detail = f"sampled texts are {'the same' if same else 'not the same'}, at {nats:.3g} nats between models"
    checks.append(Check(DIFFERING, is_one_model or not same or nats < _SEEN, detail))
    return tuple(checks)


def _check_again(arms: Arms, decoding: Decoding, fault: str) -> Iterator[Check]:
    for name, problems in (("runs repeat", None), ("runs do not depend on the batch", _FEW)):
        n_other = 0
        for role in ("base", "thinking"):
            arm = arms[role]
            again = arm.again(seed=arm.seed + _OTHER * (fault == name), problems=problems)
            n_other += _differing(arm.runs, again.runs)
        yield Check(f"{decoding} {name}", n_other == 0, f"{n_other} texts differ")


def _check_problems(arms: Mapping[Decoding, Arms]) -> Check:
    wrong = [
        f"{name}, {decoding}"
        for decoding, of_one in arms.items()
        for name, arm in of_one.items()
        if not np.array_equal(arm.runs.items, arms["greedy"]["base"].runs.items)
        or (arm.runs.correct & arm.runs.cut_off).any()
    ]
    detail = f"arms on other problems, or with credit for a cut text: {', '.join(wrong) or 'none'}"
    return Check("all arms answer the same problems", not wrong, detail)


def _check_decoding(arms: Mapping[Decoding, Arms], limit: int) -> Check:
    wrong = [
        f"{name}, {decoding}"
        for decoding, of_one in arms.items()
        for name, arm in of_one.items()
        if set(arm.runs.sentences[arm.runs.cut_off].tolist()) - {limit} or arm.runs.sentences.max() > limit
    ]
    detail = f"arms that were cut off elsewhere than at {limit} sentences: {', '.join(wrong) or 'none'}"
    return Check("same decoding in every arm", not wrong, detail)


def _differing(runs: TabularRollouts, again: TabularRollouts) -> int:
    """Texts that differ, of those that both have: in what was begun or carried out, or in the answer."""
    n = len(again.items)
    rows = [
        (getattr(runs, name)[:n] != getattr(again, name)).reshape(n, again.correct.shape[1], -1).any(axis=-1)
        for name in ("correct", "sentences", "onsets", "executed")
    ]
    return int(np.logical_or.reduce(rows).sum())
