"""onset_log_odds: log-odds that one of several ways to begin a behaviour comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.canonical import Json
from reasonmech.metrics.base import Answer, answers_of, check_host, logsumexp_where, metrics, runs_of
from reasonmech.runtime.readout import Reading, Run


@checked
@final
@dataclass(frozen=True)
class OnsetLogOdds:
    """Made by `onset_log_odds`.

    Attributes:
        onset: token runs with which the behaviour begins; none begins another.
        against: those to weigh them against; empty: everything else that a model could write.
    """

    onset: tuple[Run, ...]
    against: tuple[Run, ...] = ()
    name = "onset_log_odds"
    unit = "nats"

    def __post_init__(self) -> None:
        if not self.onset:
            raise DataError(
                "onset_log_odds of no continuation: it would read nothing", do="give the onset set"
            )
        runs = self.onset + self.against
        for i, run in enumerate(runs):
            for j, other in enumerate(runs):
                if i != j and other[: len(run)] == run:
                    raise DataError(
                        f"the continuation {run} begins the continuation {other}: its probability would "
                        "count twice",
                        do="leave one of them out",
                    )

    @checked
    def continuations(self, host: Host, n_texts: int) -> Sequence[Sequence[Run]]:
        return [self.onset + self.against] * n_texts

    def value(self, reading: Reading) -> Float[Tensor, " text"]:
        onset, against = reading.logp[:, : len(self.onset)], reading.logp[:, len(self.onset) :]
        rest = (
            against.logsumexp(-1) if self.against else self._elsewhere(onset, reading.logits.log_softmax(-1))
        )
        return onset.logsumexp(-1) - rest

    def _elsewhere(self, onset: Tensor, first: Float[Tensor, "text vocab"]) -> Float[Tensor, " text"]:
        """log(1 - P(onset)), summed from what is left: in float32 1 - P is 0 as soon as P is 0.99999995.

        That is every token that begins no onset, and the part of P(t) that the onsets beginning with t leave
        over.
        """
        begins = sorted({run[0] for run in self.onset if len(run) > 1})
        other = torch.ones(first.shape[1], dtype=torch.bool, device=first.device)
        other[[run[0] for run in self.onset]] = False
        parts = [logsumexp_where(first, other.expand_as(first))]
        for token in begins:
            begun = onset[:, [i for i, run in enumerate(self.onset) if run[0] == token]].logsumexp(-1)
            # at most 1 but for rounding, and log1p(-1) is -inf
            share = (begun - first[:, token]).exp().clamp(max=1 - torch.finfo(first.dtype).eps)
            parts.append(first[:, token] + torch.log1p(-share))
        return torch.stack(parts, -1).logsumexp(-1)

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": self.name,
            "onset": [list(r) for r in self.onset],
            "against": [list(r) for r in self.against],
        }


@metrics.register("onset_log_odds")
def onset_log_odds(
    host: Host, onset: Sequence[Answer], *, against: Sequence[Answer] = (), single: bool = False
) -> OnsetLogOdds:
    """log sum_c p(c | text) - log(1 - sum_c p(c | text)) over the continuations c of an onset set, in nats.

    A behaviour begins in several ways ("wait", "hmm , let me"), and an edit that moves probability from one
    to another has not moved the behaviour: one token is no onset set, and is refused unless you insist.

    Args:
        onset: continuations, each a text exactly as it would go on (" wait"; all ways in which the tokenizer
            writes it inside a text count) or a run of token ids.
        against: continuations to weigh them against, instead of everything else: log P(onset) - log
            P(against).
        single: yes, this behaviour begins with this one continuation and no other.

    Raises:
        DataError: an empty set, one continuation without `single=True`, one that begins another, or one that
            the tokenizer does not know.
    """
    call = 'rm.onset_log_odds(host, ["wait", "hmm"])'
    check_host(host, do=call)
    onset = answers_of(onset, name="the onset set", do=f"write {call}")
    against = answers_of(against, name="the set to weigh against", do='write against=["so"]')
    if len(onset) == 1 and not single:
        raise DataError(
            f"an onset set of one continuation, {onset[0]!r}",
            allowed="several: a behaviour that can begin in other ways is not measured by one of them",
            do="add the others, or say single=True where there are none",
        )
    return OnsetLogOdds(_runs(host, onset), _runs(host, against))


def _runs(host: Host, continuations: Sequence[Answer]) -> tuple[Run, ...]:
    """All ways to write each of them: its probability is their sum."""
    return tuple(run for continuation in continuations for run in runs_of(host, continuation))
