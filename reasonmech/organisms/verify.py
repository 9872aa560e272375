"""Verify: measure a pair's truth again from its weights, and say where record and measurement part."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np
from jaxtyping import Int
from tqdm.auto import tqdm

from reasonmech.hosts import Host, ModelPair, load_pair, pair_names
from reasonmech.organisms.cache import truth_home
from reasonmech.organisms.ground_truth.dial_table import GREEDY, measure_dial
from reasonmech.organisms.ground_truth.splice import splice
from reasonmech.organisms.ground_truth.truth import (
    CELLS,
    Effort,
    bits,
    measure_prompted,
    measure_truth,
    verified_counts,
)
from reasonmech.organisms.record import read_truth
from reasonmech.printable import printable
from reasonmech.problem import ProblemSet
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.threads import threads_of
from reasonmech.stats import SHARE, mean_interval
from reasonmech.tasks import grade, load_task

Json = dict[str, Any]
PROBLEMS: Final = 200  # greedy and spliced, unless everything is asked for
COVERED: Final = 100  # of pass@k
TOLERANCE: Final = 0.01
"""Share of problems whose greedy outcome may differ, and distance of a rate from its recorded interval: two
logits within round-off of each other are put in order by the machine."""


class Remeasurement(NamedTuple):
    """One recorded quantity, measured again."""

    quantity: str
    recorded: str
    measured: str
    agrees: bool


@final
class Verifier:
    """Verifies pair after pair; what two pairs share (a base on the same problems) is measured once.

    Args:
        full: measure everything again: all problems, T = 1, forced onsets, the dial.
        problems: how many of those recorded, greedy and spliced.
        covered: how many of those recorded, for pass@k.
    """

    def __init__(
        self, *, full: bool = False, problems: int = PROBLEMS, covered: int = COVERED, progress: bool = True
    ) -> None:
        self.full, self.problems, self.covered, self.progress = full, problems, covered, progress
        self._outcomes: dict[tuple[str | int, ...], str] = {}
        self._counts: dict[tuple[str | int, ...], np.ndarray] = {}

    def verify(self, source: str | Path) -> list[Remeasurement]:
        """Compare the record of a pair with its weights: the hashes, the requirements, and what it does.

        Greedy outcomes are compared problem by problem; rates at T = 1 with their recorded intervals, drawn
        again with the recorded seeds.

        Args:
            source: an organism's name, or a directory that `organisms build` wrote.

        Raises:
            UnknownNameError: no such organism.
            NotBuiltError: its weights are not on this machine.
            CorruptFileError: weights or `truth.json` are missing or damaged.
        """
        home = truth_home(source)
        truth = read_truth(home)
        pair = load_pair(source if str(source) in pair_names() else home)
        measured = truth["measured"]
        problems = load_task(
            measured["task"], n=measured["n_problems"], seed=truth["seed"], split=truth["split"]
        )
        rows = [*_compare_weights(truth, pair), _compare_requirements(truth)]
        with threads_of(pair):
            rows += self._compare_runs(truth, pair, problems)
        return rows

    def _compare_runs(self, truth: Json, pair: ModelPair, problems: ProblemSet) -> list[Remeasurement]:
        """What the models do, beside what is recorded."""
        measured = truth["measured"]
        steps = chain(
            self._compare_greedy(measured, pair, problems), self._compare_coverage(measured, pair, problems)
        )
        name = printable(pair.name)
        rows = list(tqdm(steps, total=len(CELLS) + 4, desc=name, leave=False, disable=not self.progress))
        if self.full:
            rows += _compare_everything(truth, pair, problems, progress=self.progress)
        return rows

    def _compare_greedy(
        self, measured: Json, pair: ModelPair, problems: ProblemSet
    ) -> Iterator[Remeasurement]:
        """Free runs and spliced cells, problem by problem."""
        hosts = {"base": pair.base, "thinking": pair.thinking}
        subset = problems if self.full else problems[: self.problems]
        for role, host in hosts.items():
            recorded = measured["outcomes"]["greedy"][role]
            yield _compare_outcomes(f"{role}, greedy", recorded, self._grade(None, host, subset))
        for onset, executor in CELLS:
            recorded = measured["outcomes"]["spliced"][f"{onset}-{executor}"]
            outcomes = self._grade(hosts[onset], hosts[executor], subset)
            yield _compare_outcomes(f"onset by {onset}, execution by {executor}", recorded, outcomes)

    def _compare_coverage(
        self, measured: Json, pair: ModelPair, problems: ProblemSet
    ) -> Iterator[Remeasurement]:
        """Process-verified pass@k of the base, and its share of verified samples."""
        for name in [name for name in measured["outcomes"] if name.startswith("pass@")]:
            k, recorded = int(name.removeprefix("pass@").split("_")[0]), measured["outcomes"][name].split()
            old = np.array(recorded if self.full else recorded[: self.covered], dtype=int)
            new = self._count_verified(pair.base, problems[: len(old)], k=k, seed=measured["seed"])
            yield _compare_means(f"base, pass@{k} with every step right", old > 0, new > 0)
            yield _compare_means("base, samples with every step right", old / k, new / k)

    def _grade(self, onset: Host | None, executor: Host, problems: ProblemSet) -> str:
        """Greedy outcomes; `onset` None: of a free run, in which the executor decides its own onsets."""
        onset_hash = "itself" if onset is None else onset.weight_hash
        key = (onset_hash, executor.weight_hash, problems.task, problems[0].id, len(problems))
        if key not in self._outcomes:
            decoder = (
                executor if onset is None else splice(onset=onset, executor=executor, task=problems.task)
            )
            runs = generate(decoder, problems, decode=GREEDY, progress=False, receipt="none")
            self._outcomes[key] = bits(grade(runs))
        return self._outcomes[key]

    def _count_verified(
        self, base: Host, problems: ProblemSet, *, k: int, seed: int
    ) -> Int[np.ndarray, " problem"]:
        key = (base.weight_hash, problems.task, problems[0].id, len(problems), k, seed)
        if key not in self._counts:
            self._counts[key] = np.array(verified_counts(base, problems, k=k, seed=seed))
        return self._counts[key]


def _compare_weights(truth: Json, pair: ModelPair) -> Iterator[Remeasurement]:
    for role, host in (("base", pair.base), ("thinking", pair.thinking)):
        recorded = truth["weights"][role]
        yield Remeasurement(
            f"{role}, weights", recorded[:12], host.weight_hash[:12], recorded == host.weight_hash
        )


def _compare_requirements(truth: Json) -> Remeasurement:
    rows = truth["requirements"]
    met = [row for row in rows if row["value"] is not None and row["low"] <= row["value"] <= row["high"]]
    return Remeasurement("requirements met", f"{len(rows)}", f"{len(met)}", len(met) == len(rows))


def _compare_outcomes(quantity: str, recorded: str, new: str) -> Remeasurement:
    """Problem by problem; what was measured again may be fewer problems than were recorded."""
    old = recorded[: len(new)]
    n_differ = sum(a != b for a, b in zip(old, new, strict=True))
    measured = f"{new.count('1')} of {len(new)} right" + (f", {n_differ} problems differ" if n_differ else "")
    agrees = n_differ <= TOLERANCE * len(new)
    return Remeasurement(quantity, f"{old.count('1')} of {len(old)} right", measured, agrees)


def _compare_means(quantity: str, old: np.ndarray, new: np.ndarray) -> Remeasurement:
    interval, value = mean_interval(old.astype(float), bounds=SHARE), float(new.mean())
    return Remeasurement(
        quantity, str(interval), f"{value:.3g}", _is_near(value, interval.low, interval.high)
    )


def _is_near(value: float, low: float, high: float) -> bool:
    return low - TOLERANCE <= value <= high + TOLERANCE


def _compare_everything(
    truth: Json, pair: ModelPair, problems: ProblemSet, *, progress: bool
) -> Iterator[Remeasurement]:
    """Every rate of the record, and every row of the dial."""
    effort = Effort(**truth["effort"])
    measured = measure_truth(pair.base, pair.thinking, problems, effort=effort, progress=progress)
    if "prompted" in truth["measured"]:
        words = truth["measured"]["prompted"]["words"]
        measured["prompted"] = measure_prompted(pair.base, problems, words, effort=effort)
    for path, recorded in _walk_rates(truth["measured"], ()):
        node = measured
        for key in path:
            node = node[key]
        yield _compare_rates(", ".join(path), recorded, node)
    dial = measure_dial(pair, problems[: effort.dialled], progress=progress)
    for recorded, row in zip(truth["dial"], dial, strict=True):
        quantity = f"dial, {row['factor']} at {row['share']}, the other by {row['other']}"
        rate = recorded | {"estimate": recorded["accuracy"]}
        yield _compare_rates(quantity, rate, {"estimate": row["accuracy"]})


def _walk_rates(node: Json, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Json]]:
    """Every part of a record that has an estimate, and where it is."""
    if "estimate" in node:
        yield path, node
        return
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _walk_rates(value, (*path, key))


def _compare_rates(quantity: str, recorded: Json, measured: Json) -> Remeasurement:
    old, new = recorded["estimate"], measured["estimate"]
    if old is None or new is None:
        texts = ["none" if value is None else f"{value:.3g}" for value in (old, new)]
        return Remeasurement(quantity, *texts, agrees=old is new)
    interval = f"{old:.3g} [{recorded['low']:.3g}, {recorded['high']:.3g}]"
    return Remeasurement(quantity, interval, f"{new:.3g}", _is_near(new, recorded["low"], recorded["high"]))


def verify(source: str | Path, *, full: bool = False, progress: bool = True) -> list[Remeasurement]:
    """`Verifier.verify` of one pair."""
    return Verifier(full=full, progress=progress).verify(source)
