"""Verify: measure a pair's truth again from its weights, and say where the record and the measurement
part."""

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
from reasonmech.organisms.ground_truth.dial_table import WHOLE, measure_dial
from reasonmech.organisms.ground_truth.splice import splice
from reasonmech.organisms.ground_truth.truth import CELLS, Effort, bits, measure_truth, verified_counts
from reasonmech.organisms.record import DIALLED, read_truth
from reasonmech.problem import ProblemSet
from reasonmech.runtime.decoding.generate import generate
from reasonmech.stats import mean_interval
from reasonmech.tasks import grade, load_task

Json = dict[str, Any]
PROBLEMS: Final = 200  # greedy and spliced, unless everything is asked for
COVERED: Final = 100  # of pass@k
TOLERANCE: Final = 0.01
"""Share of problems whose greedy outcome may differ, and distance of a rate from its recorded interval: two
logits within round-off of each other are put in order by the machine."""


class Finding(NamedTuple):
    """One thing that was recorded, measured again."""

    what: str
    recorded: str
    measured: str
    agrees: bool


@final
class Verifier:
    """Verifies pair after pair; what two pairs share (a base on the same problems) is measured once.

    Args:
        full: measure everything again: all problems, T = 1, forced onsets, the dial.
        problems: greedy and spliced, of those recorded.
        covered: problems of pass@k, of those recorded.
    """

    def __init__(
        self, *, full: bool = False, problems: int = PROBLEMS, covered: int = COVERED, progress: bool = True
    ) -> None:
        self.full, self.problems, self.covered, self.progress = full, problems, covered, progress
        self._outcomes: dict[tuple[str | int, ...], str] = {}
        self._counts: dict[tuple[str | int, ...], np.ndarray] = {}

    def verify(self, source: str | Path) -> list[Finding]:
        """Compare the record of a pair with its weights: the hashes, what was asked of it, and what it does.

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
        found = [*_weights(truth, pair), _requirements(truth)]
        steps = chain(self._greedy(measured, pair, problems), self._covered(measured, pair, problems))
        found += tqdm(steps, total=len(CELLS) + 4, desc=pair.name, leave=False, disable=not self.progress)
        if self.full:
            found += _everything(truth, pair, problems, progress=self.progress)
        return found

    def _greedy(self, measured: Json, pair: ModelPair, problems: ProblemSet) -> Iterator[Finding]:
        """Free runs and spliced cells, problem by problem."""
        hosts = {"base": pair.base, "thinking": pair.thinking}
        some = problems if self.full else problems[: self.problems]
        for role, host in hosts.items():
            yield _same(
                f"{role}, greedy", measured["outcomes"]["greedy"][role], self._right(None, host, some)
            )
        for onset, executor in CELLS:
            recorded = measured["outcomes"]["spliced"][f"{onset}-{executor}"]
            now = self._right(hosts[onset], hosts[executor], some)
            yield _same(f"onset by {onset}, execution by {executor}", recorded, now)

    def _covered(self, measured: Json, pair: ModelPair, problems: ProblemSet) -> Iterator[Finding]:
        """Process-verified pass@k of the base, and its share of verified samples."""
        for name in [name for name in measured["outcomes"] if name.startswith("pass@")]:
            k, recorded = int(name.removeprefix("pass@").split("_")[0]), measured["outcomes"][name].split()
            before = np.array(recorded if self.full else recorded[: self.covered], dtype=int)
            now = self._verified(pair.base, problems[: len(before)], k=k, seed=measured["seed"])
            yield _inside(f"base, pass@{k} with every step right", before > 0, now > 0)
            yield _inside("base, samples with every step right", before / k, now / k)

    def _right(self, onset: Host | None, executor: Host, problems: ProblemSet) -> str:
        """Greedy outcomes, of a free run where nobody else decides the onsets."""
        decides = "itself" if onset is None else onset.weight_hash
        key = (decides, executor.weight_hash, problems.task, problems[0].id, len(problems))
        if key not in self._outcomes:
            decoder = (
                executor if onset is None else splice(onset=onset, executor=executor, task=problems.task)
            )
            runs = generate(decoder, problems, decode=WHOLE, progress=False, receipt="none")
            self._outcomes[key] = bits(grade(runs))
        return self._outcomes[key]

    def _verified(
        self, base: Host, problems: ProblemSet, *, k: int, seed: int
    ) -> Int[np.ndarray, " problem"]:
        key = (base.weight_hash, problems.task, problems[0].id, len(problems), k, seed)
        if key not in self._counts:
            self._counts[key] = np.array(verified_counts(base, problems, k=k, seed=seed))
        return self._counts[key]


def _weights(truth: Json, pair: ModelPair) -> Iterator[Finding]:
    for role, host in (("base", pair.base), ("thinking", pair.thinking)):
        recorded = truth["weights"][role]
        yield Finding(f"{role}, weights", recorded[:12], host.weight_hash[:12], recorded == host.weight_hash)


def _requirements(truth: Json) -> Finding:
    rows = truth["requirements"]
    met = [row for row in rows if row["value"] is not None and row["low"] <= row["value"] <= row["high"]]
    return Finding("requirements met", f"{len(rows)}", f"{len(met)}", len(met) == len(rows))


def _same(what: str, recorded: str, now: str) -> Finding:
    before = recorded[: len(now)]
    differ = sum(a != b for a, b in zip(before, now, strict=True))
    said = f"{now.count('1')} of {len(now)} right" + (f", {differ} problems differ" if differ else "")
    return Finding(what, f"{before.count('1')} of {len(before)} right", said, differ <= TOLERANCE * len(now))


def _inside(what: str, recorded: np.ndarray, now: np.ndarray) -> Finding:
    interval, value = mean_interval(recorded.astype(float)), float(now.mean())
    return Finding(what, str(interval), f"{value:.3g}", _near(value, interval.low, interval.high))


def _near(value: float, low: float, high: float) -> bool:
    return low - TOLERANCE <= value <= high + TOLERANCE


def _everything(truth: Json, pair: ModelPair, problems: ProblemSet, *, progress: bool) -> Iterator[Finding]:
    """Every rate of the record, and every row of the dial."""
    effort = Effort(**truth["effort"])
    now = measure_truth(pair.base, pair.thinking, problems, effort=effort, progress=progress)
    for path, recorded in _rates(truth["measured"], ()):
        node = now
        for key in path:
            node = node[key]
        yield _rate(", ".join(path), recorded, node)
    dial = measure_dial(pair, problems[:DIALLED], progress=progress)
    for recorded, row in zip(truth["dial"], dial, strict=True):
        what = f"dial, {row['factor']} at {row['share']}, the other by {row['other']}"
        yield _rate(what, recorded | {"estimate": recorded["accuracy"]}, {"estimate": row["accuracy"]})


def _rates(node: Json, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Json]]:
    """Every part of a record that has an estimate, and where it is."""
    if "estimate" in node:
        yield path, node
        return
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _rates(value, (*path, key))


def _rate(what: str, recorded: Json, now: Json) -> Finding:
    before, value = recorded["estimate"], now["estimate"]
    if before is None or value is None:
        return Finding(
            what,
            "none" if before is None else f"{before:.3g}",
            "none" if value is None else f"{value:.3g}",
            before is value,
        )
    said = f"{before:.3g} [{recorded['low']:.3g}, {recorded['high']:.3g}]"
    return Finding(what, said, f"{value:.3g}", _near(value, recorded["low"], recorded["high"]))


def verify(source: str | Path, *, full: bool = False, progress: bool = True) -> list[Finding]:
    """`Verifier.verify` of one pair."""
    return Verifier(full=full, progress=progress).verify(source)
