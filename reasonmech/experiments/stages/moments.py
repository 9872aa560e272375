"""Moments at which a behaviour could begin, or something else could, and what a model would write there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.behaviours import behaviours
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.interventions import Intervention, bind
from reasonmech.kinds import Openings, opening_categories, with_ends
from reasonmech.receipt import Receipt
from reasonmech.rollout import Rollout, Trace
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.passes import run_passes
from reasonmech.runtime.receipt.recorder import ReceiptMode, ReceiptRecorder
from reasonmech.runtime.receipt.replay import CleanLogits
from reasonmech.stats import SHARE, Interval, mean_interval
from reasonmech.tasks import tasks

MOMENT = "here"  # label of the moments in a plan: where=labelled(MOMENT)
BATCH = 128  # texts per pass
DRAWS = 2000  # bootstrap draws per point of a curve


@dataclass(frozen=True, eq=False)
class BehaviourMoments:
    """Where the next token is read, for one behaviour.

    Attributes:
        place: what they have in common, in words ("at opportunities", "elsewhere").
        rollouts: those with any such moment.
        positions: [rollout][moment] position, prompt included, of the last token before the moment.
        next_kinds: [rollout][moment] kind of the sentence that its author began there; "" where none is.
    """

    behaviour: str
    place: str
    rollouts: tuple[Rollout, ...]
    positions: tuple[tuple[int, ...], ...]
    next_kinds: tuple[tuple[str, ...], ...]

    @property
    def written(self) -> np.ndarray:
        """[moment] kind of the sentence that the author began there."""
        return np.array([kind for kinds in self.next_kinds for kind in kinds], dtype=object)

    @property
    def problems(self) -> np.ndarray:
        """[moment] problem id."""
        per_rollout = zip(self.rollouts, self.positions, strict=True)
        return np.array([rollout.problem.id for rollout, positions in per_rollout for _ in positions])

    def thinned(self, limit: int) -> BehaviourMoments:
        """The moments of at most `limit` rollouts, evenly drawn."""
        n = min(limit, len(self.rollouts))
        chosen = [i * len(self.rollouts) // n for i in range(n)]
        return replace(
            self,
            rollouts=tuple(self.rollouts[i] for i in chosen),
            positions=tuple(self.positions[i] for i in chosen),
            next_kinds=tuple(self.next_kinds[i] for i in chosen),
        )

    def __len__(self) -> int:
        return sum(map(len, self.positions))


def at_opportunities(traces: Sequence[Trace], behaviour: str, *, limit: int) -> BehaviourMoments:
    """Where the behaviour could begin; evenly thinned to at most `limit` rollouts."""
    opportunities = behaviours.get(behaviour).opportunities
    offsets = [{opportunity.offset for opportunity in opportunities(trace)} for trace in traces]
    return _moments_of(traces, offsets, behaviour, "at opportunities", limit)


def elsewhere(traces: Sequence[Trace], behaviour: str, *, limit: int) -> BehaviourMoments:
    """Sentence boundaries at which the behaviour could not begin, the start of the answer included."""
    opportunities = behaviours.get(behaviour).opportunities
    offsets = [
        {sentence.start for sentence in trace.sentences if sentence.kind != "stop"}
        - {opportunity.offset for opportunity in opportunities(trace)}
        for trace in traces
    ]
    return _moments_of(traces, offsets, behaviour, "elsewhere", limit)


def _moments_of(
    traces: Sequence[Trace], offsets: list[set[int]], behaviour: str, place: str, limit: int
) -> BehaviourMoments:
    by_trace = zip(traces, offsets, strict=True)
    usable = [(trace, sorted(starts)) for trace, starts in by_trace if starts]
    if not usable:
        raise DataError(
            f"no moment {place} of {behaviour!r} in {len(traces)} rollouts", do="use more rollouts"
        )
    n = min(limit, len(usable))
    thinned = [usable[i * len(usable) // n] for i in range(n)]
    # what decides a token is read one position before it
    positions = tuple(
        tuple(len(trace.rollout.prompt_ids) + start - 1 for start in starts) for trace, starts in thinned
    )
    rollouts = tuple(trace.rollout for trace, _ in thinned)
    kinds = tuple(_kinds_at(trace, starts) for trace, starts in thinned)
    return BehaviourMoments(behaviour, place, rollouts, positions, kinds)


def _kinds_at(trace: Trace, starts: Sequence[int]) -> tuple[str, ...]:
    """Kinds of the sentences that begin there; "" where the text ends."""
    kind_of = {sentence.start: sentence.kind for sentence in trace.sentences}
    return tuple(kind_of.get(start, "") for start in starts)


def onset_ids(host: Host, task: str, behaviour: str) -> tuple[int, ...]:
    """Tokens that begin a behaviour, as the kinds of the task say.

    Raises:
        DataError: it is no kind of the task's, or no token of this host's decides that a sentence is one.
    """
    kinds = with_ends(tasks.get(task).kinds(host.tokenizer), host.eos_ids)
    if behaviour not in kinds.names:
        raise DataError(
            f"behaviour {behaviour!r} is no kind of sentence of task {task!r}", allowed=", ".join(kinds.names)
        )
    categories = opening_categories(kinds, host.vocab_size)
    ids = (categories == kinds.names.index(behaviour)).nonzero()[:, 0].tolist()
    if not ids:
        raise DataError(
            f"no first token decides that a sentence of {task!r} is a {behaviour!r}",
            do="use a task with one-token onsets",
        )
    return tuple(ids)


@final
@dataclass(frozen=True, eq=False)
class Onsets:
    """Every kind of sentence that a first token decides: what a next-token distribution says of each.

    Attributes:
        names: [kind].
    """

    names: tuple[str, ...]
    openings: Openings

    @classmethod
    def of(cls, host: Host, task: str) -> Onsets:
        """Those of a task, in a host's tokens. Raises DataError where no first token decides a kind."""
        kinds = with_ends(tasks.get(task).kinds(host.tokenizer), host.eos_ids)
        openings = Openings(kinds, host.vocab_size)
        return cls(tuple(kinds.names[k] for k in openings.categories), openings)

    def log_shares(self, logits: Float[Tensor, "moment vocab"]) -> Float[np.ndarray, "moment kind"]:
        """Log-probability that the next token begins a sentence of each kind."""
        return self.openings.of_kinds(logits).double().log_softmax(-1).cpu().numpy()


@dataclass(frozen=True, eq=False)
class Response:
    """What a plan did to the probability of an onset.

    Attributes:
        value: [moment] probability that the next token begins the behaviour.
        interval: its mean over problems.
        kl: nats per token between edited and clean next-token distributions; None for an empty plan.
        lines: the receipt's lines, JSON values.
        log_shares: [moment, kind] log-probability of every kind, where they were asked for.
    """

    value: np.ndarray
    interval: Interval
    kl: float | None
    lines: list[dict[str, object]]
    log_shares: np.ndarray | None = None


def respond(
    host: Host,
    moments: BehaviourMoments,
    plan: Sequence[Intervention],
    *,
    onsets: Sequence[int],
    every_onset: Onsets | None = None,
    clean: CleanLogits | None = None,
) -> Response:
    """Teacher-forced: every text is read as it was written, the plan acts where its masks say.

    Of each text's logits only the probability of the onsets, summed, at its moments is stored; with
    `every_onset` that of every kind, too. The receipt measures a KL where `clean` is given: clean logits that
    receipts of other plans at these moments have left.
    """
    receipt: ReceiptMode = "none" if clean is None else "sample"
    recorder = ReceiptRecorder(bind(plan, host), receipt, batch_size=BATCH, clean=clean)
    rows = pass_rows(moments)
    probabilities: dict[int, np.ndarray] = {}
    of_kinds: dict[int, np.ndarray] = {}
    with torch.no_grad():
        for row, logits in run_passes(host, rows, hooks=recorder.hooks(), batch_size=BATCH):
            at_moments = logits[list(moments.positions[row])].float()
            probabilities[row] = at_moments.softmax(-1)[:, list(onsets)].sum(-1).cpu().numpy()
            if every_onset is not None:
                of_kinds[row] = every_onset.log_shares(at_moments)
    value = np.concatenate([probabilities[row] for row in range(len(rows))])
    interval = mean_interval(value, moments.problems, bounds=SHARE, draws=DRAWS)
    log_shares = np.concatenate([of_kinds[row] for row in range(len(rows))]) if of_kinds else None

    def response_of(receipt: Receipt | None) -> Response:
        if receipt is None:
            return Response(value, interval, None, [], log_shares)
        lines = [asdict(line) for line in receipt.lines]
        return Response(value, interval, receipt.kl, lines, log_shares)

    return recorder.finish(rows, response_of)


def pass_rows(moments: BehaviourMoments) -> list[PassRow]:
    """Each text with its moments labelled, where masks look for them."""
    return [
        PassRow.of(rollout, {MOMENT: frozenset(positions)})
        for rollout, positions in zip(moments.rollouts, moments.positions, strict=True)
    ]
