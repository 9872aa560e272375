"""The thinking model's moments, other ones, and those that the base's own activations name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.claims.evidence import ANOTHER, ORACLE_FREE, OWN, PerProblem, other_moments
from reasonmech.claims.measuring.begin_kind import BeginKind
from reasonmech.claims.measuring.bench import CELL_ROLES, Bench, write_texts
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hybrid import Hybrid, HybridGate, OracleFreeGate, OracleFreeSelector, Selector, Times
from reasonmech.hybrid.draws import ScheduleDraws, repeat
from reasonmech.hybrid.oracle_free import fit_onset_probe
from reasonmech.hybrid.rules import Schedule, SteeredText
from reasonmech.kinds import Kinds, Openings, sentence_starts, with_ends
from reasonmech.organisms.ground_truth.splice import splice
from reasonmech.rollout import OTHER, Rollout, Rollouts
from reasonmech.runtime.decoding.prompts import as_read_by
from reasonmech.runtime.forward import forward
from reasonmech.tasks import grade, tasks

DRAWS: Final = 20  # of other moments: the fewest whose smallest p is below .05
_TOGETHER: Final = 5  # draws in one run, which a kill costs at most
_TEXTS: Final = 8  # whose logits are in memory at once
N_ARMS: Final = 3 + DRAWS


@final
@dataclass(frozen=True, eq=False)
class Moments:
    """Arms in which the base writes, and sentences are begun as a controller says.

    Attributes:
        arms: name -> shares of right answers [problem], greedy.
        same: pair of arms -> whether both write one text [problem].
    """

    arms: dict[str, PerProblem]
    same: dict[str, PerProblem]


def measure_moments(bench: Bench) -> Moments:
    """The base with the thinking model's kinds at its own moments, at others, at another problem's, and at
    those which a probe on the base's stream names.

    Needs the splice "tb" and, where it was drawn, the leak curve's first token; nothing where the thinking
    model chooses as the base does at every boundary.
    """
    controlled = Controlled.on(bench)
    spliced = bench.spliced("tb", "greedy")
    times = controlled.times(spliced)
    if not any(text.n_steered for text in times.texts):
        bench.note("at every boundary the thinking model begins the kind that the base would: no moments")
        return Moments({}, _same(bench, spliced))
    at_own = Schedule({row: text.sentences for row, text in times})
    arms = {
        OWN: controlled.right(OWN, at_own, at_own),
        ANOTHER: controlled.right(ANOTHER, *(2 * [times.of_another_problem()])),
    }
    for draw, values in enumerate(_other_moments(controlled, times)):
        arms[other_moments(draw)] = values
    return Moments(arms | _oracle_free(controlled), _same(bench, spliced))


@final
@dataclass(frozen=True, eq=False)
class Controlled:
    """The base of a bench under controllers of its onsets."""

    bench: Bench
    kinds: Kinds
    executor: BeginKind

    @classmethod
    def on(cls, bench: Bench) -> Controlled:
        pair = bench.pair
        kinds = tasks.get(bench.problems.task).kinds(pair.thinking.tokenizer)
        kinds = with_ends(kinds, (*pair.base.eos_ids, *pair.thinking.eos_ids))
        rows = min(pair.base.vocab_size, pair.thinking.vocab_size)
        return cls(bench, kinds, BeginKind(Openings(kinds, rows, without=(OTHER,))))

    def hybrid(self, gate: HybridGate, selector: Selector) -> Hybrid:
        return Hybrid(self.bench.pair, gate=gate, selector=selector, executor=self.executor, kinds=self.kinds)

    def right(self, name: str, gate: HybridGate, selector: Selector) -> PerProblem:
        """Right answers of an arm, greedy, kept under its name."""
        file = f"greedy.{name.replace(' ', '-')}"
        return self.bench.right(
            self.bench.write(file, self.hybrid(gate, selector), self.bench.decode("greedy"))
        )

    def times(self, spliced: Rollouts) -> Times:
        """Sentences that the base would have begun otherwise, in texts whose kinds another model chose."""
        base = self.bench.host("base")
        starts = sentence_starts(self.kinds, [r.ids for r in spliced])
        texts = []
        for i in range(0, len(spliced), _TEXTS):
            part = as_read_by(base, spliced[i : i + _TEXTS])
            for rollout, begins, alone in zip(
                part, starts[i : i + _TEXTS], self._alone(base, part, starts[i : i + _TEXTS]), strict=True
            ):
                kind = self.kinds.label(torch.tensor(rollout.ids))[begins].tolist()
                pairs = enumerate(zip(kind, alone.tolist(), strict=True))
                sentences = {number: begun for number, (begun, by_base) in pairs if begun != by_base}
                texts.append(SteeredText(len(kind), len(sentences), tuple(sentences.values()), sentences))
        return Times(tuple((r.problem.id, r.sample) for r in spliced), tuple(texts))

    def _alone(
        self, base: Host, texts: Sequence[Rollout], starts: Sequence[Tensor]
    ) -> Iterator[Int[Tensor, " sentence"]]:
        """The kind that the base finds likeliest at every beginning of a sentence."""
        for rollout, begins, logits in zip(
            texts, starts, forward(base, texts, receipt="none").logits, strict=True
        ):
            before = len(rollout.prompt_ids) - 1 + begins.nonzero()[:, 0]
            yield self.executor.openings.likeliest(logits[before])


def _other_moments(controlled: Controlled, times: Times) -> Float[np.ndarray, "draw problem"]:
    """As many sentences per text, of the same kinds, drawn evenly among all of its sentences."""
    bench, n = controlled.bench, len(controlled.bench.problems)
    drawn = []
    for first in range(0, DRAWS, _TOGETHER):

        def make(first: int = first) -> dict[str, np.ndarray]:
            seeds = range(bench.questions.seed + first, bench.questions.seed + first + _TOGETHER)
            schedules = ScheduleDraws([times.shuffled(seed) for seed in seeds], n)
            problems = repeat(bench.problems, _TOGETHER)
            written = write_texts(controlled.hybrid(schedules, schedules), problems, bench.decode("greedy"))
            return {"right": grade(written).astype(np.float64).reshape(_TOGETHER, n)}

        drawn.append(bench.runs.arrays(f"greedy.other-moments.{first}", make, rows=_TOGETHER * n)["right"])
    return np.concatenate(drawn)


def _oracle_free(controlled: Controlled) -> dict[str, PerProblem]:
    """The kinds that a probe on the base's stream names, fitted on what the thinking model began in texts of
    the base on the fitting problems."""
    bench = controlled.bench
    onset, executor = (bench.host(role) for role in CELL_ROLES["tb"])
    decoder = splice(onset=onset, executor=executor, task=bench.problems.task)
    texts = write_texts(decoder, bench.questions.fitting, bench.decode("sampled"))
    try:
        probe = fit_onset_probe(bench.pair.base, texts, controlled.kinds)
    except DataError as error:
        bench.note(f"no oracle-free controller can be fitted: {error.happened}")
        return {}
    bench.note(f"oracle-free controller at {probe.site}: kinds named {probe.accuracy:.1%} right, held out")
    gate, selector = OracleFreeGate(probe), OracleFreeSelector(probe)
    return {ORACLE_FREE: controlled.right(ORACLE_FREE, gate, selector)}


def _same(bench: Bench, spliced: Rollouts) -> dict[str, PerProblem]:
    """Whether the base with the thinking model's kinds writes what the thinking model writes."""
    thinking = bench.free("thinking", "greedy")
    alike = [a.ids == b.ids for a, b in zip(spliced, thinking, strict=True)]
    return {"tb = thinking": np.array(alike, dtype=np.float64)}
