"""Moments: the positions of rollouts at which a behaviour could begin, or something else could, and what
comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from reasonmech.behaviours import behaviours
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.interventions import Hooks, Intervention, bind
from reasonmech.rollout import Rollout, Trace
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.passes import run_passes
from reasonmech.runtime.receipt.receipt import ReceiptMode, check_receipt, make_receipt
from reasonmech.runtime.receipt.tally import Tally
from reasonmech.stats import Interval, mean_interval
from reasonmech.tasks import tasks

HERE = "here"  # label of the moments in a plan: where=labelled(HERE)
BATCH = 128  # texts per pass
DRAWS = 2000  # bootstrap draws per point of a curve


@dataclass(frozen=True, eq=False)
class Moments:
    """Positions [prompt included] whose next token is read, per rollout; rollouts without any are left
    out."""

    behaviour: str
    place: str
    rollouts: tuple[Rollout, ...]
    positions: tuple[tuple[int, ...], ...]

    @property
    def problems(self) -> np.ndarray:
        """[moment] problem id."""
        return np.array(
            [r.problem.id for r, found in zip(self.rollouts, self.positions, strict=True) for _ in found]
        )

    def __len__(self) -> int:
        return sum(map(len, self.positions))


def at_opportunities(traces: Sequence[Trace], behaviour: str, *, limit: int) -> Moments:
    """Where the behaviour could begin; evenly thinned to at most `limit` rollouts."""
    found = behaviours.get(behaviour)
    offsets = [{o.offset for o in found.opportunities(trace)} for trace in traces]
    return _moments(traces, offsets, behaviour, "at opportunities", limit)


def elsewhere(traces: Sequence[Trace], behaviour: str, *, limit: int) -> Moments:
    """Sentence boundaries at which the behaviour could not begin, the start of the answer included."""
    found = behaviours.get(behaviour)
    offsets = [
        {s.start for s in trace.sentences if s.kind != "stop"}
        - {o.offset for o in found.opportunities(trace)}
        for trace in traces
    ]
    return _moments(traces, offsets, behaviour, "elsewhere", limit)


def _moments(
    traces: Sequence[Trace], offsets: list[set[int]], behaviour: str, place: str, limit: int
) -> Moments:
    chosen = [(trace.rollout, sorted(found)) for trace, found in zip(traces, offsets, strict=True) if found]
    if not chosen:
        raise DataError(
            f"no moment {place} of {behaviour!r} in {len(traces)} rollouts", do="use more rollouts"
        )
    some = [chosen[i * len(chosen) // min(limit, len(chosen))] for i in range(min(limit, len(chosen)))]
    positions = tuple(
        tuple(len(rollout.prompt_ids) + offset - 1 for offset in found) for rollout, found in some
    )
    return Moments(behaviour, place, tuple(rollout for rollout, _ in some), positions)


def onset_id(host: Host, task: str, behaviour: str) -> int:
    """Token that begins a behaviour. Raises DataError when its first word is no single token."""
    word = tasks.get(task).onset_words[behaviour]
    ids = host.encode(word)
    if len(ids) != 1:
        raise DataError(
            f"{word!r} begins {behaviour!r} and is {len(ids)} tokens", do="use a task with one-token onsets"
        )
    return ids[0]


@dataclass(frozen=True, eq=False)
class Response:
    """What a plan did to the probability of an onset.

    Attributes:
        value: [moment] probability that the next token begins the behaviour.
        interval: its mean over problems.
        kl: nats per token between edited and clean next-token distributions; None for an empty plan.
        lines: the receipt's lines, JSON values.
    """

    value: np.ndarray
    interval: Interval
    kl: float | None
    lines: list[dict[str, object]]


def respond(
    host: Host, moments: Moments, plan: Sequence[Intervention], *, onset: int, receipt: ReceiptMode = "sample"
) -> Response:
    """Teacher-forced: every text is read as it was written, the plan acts where its masks say.

    Of each text's logits only the onset's probability at its moments is kept.
    """
    bound = bind(plan, host)
    tally = Tally(bound.plan, measure=receipt != "none")
    hooks = Hooks(bound, recorder=tally) if bound.plan else None
    texts, found = _texts(moments), {}
    with torch.no_grad():
        for row, logits in run_passes(host, texts, hooks=hooks, batch_size=BATCH):
            here = logits[list(moments.positions[row])].float()
            found[row] = here.softmax(-1)[:, onset].cpu().numpy()
    value = np.concatenate([found[row] for row in range(len(texts))])
    interval = mean_interval(value, moments.problems, draws=DRAWS)
    if not plan:
        return Response(value, interval, None, [])
    made = make_receipt(bound, tally, texts, mode=receipt, batch_size=BATCH)
    response = Response(value, interval, made.kl, [asdict(line) for line in made.lines])
    check_receipt(bound, made, result=response)
    return response


def _texts(moments: Moments) -> list[PassRow]:
    return [
        PassRow.of(rollout, {HERE: frozenset(found)})
        for rollout, found in zip(moments.rollouts, moments.positions, strict=True)
    ]
