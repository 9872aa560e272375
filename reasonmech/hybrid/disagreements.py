"""Where the base would have written another token than the thinking model did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache

from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hosts.turn import run_alone
from reasonmech.kinds import Kinds, Openings, sentence_starts, with_ends
from reasonmech.rollout import Rollout
from reasonmech.runtime.rerun import CleanPast, select_rows


@dataclass(frozen=True, eq=False)
class Disagreements:
    """One row per position of the thinking model's text at which the base's likeliest token is another.

    Attributes:
        rollout: [row] index of the rollout.
        position: [row] absolute position of the token *before* the disputed one: where a steering vector
            acts.
        target: [row] token that the thinking model wrote.
        category: [row] category of that token.
        rate: disagreements per model-chosen token of this text. A hybrid that follows the thinking model word
            for word steers at this rate; one that strays meets other disagreements.
    """

    rollout: Int[Tensor, " row"]
    position: Int[Tensor, " row"]
    target: Int[Tensor, " row"]
    category: Int[Tensor, " row"]
    rate: float

    def __len__(self) -> int:
        return len(self.position)

    def __repr__(self) -> str:
        return f"Disagreements({len(self)}, {self.rate:.3f} per token)"

    def rows_in(self, clean: CleanPass) -> Int[Tensor, " row"]:
        """Numbers of the rows that lie in the rollouts of one pass."""
        inside = (self.rollout >= clean.first) & (self.rollout < clean.first + len(clean.ids))
        return inside.nonzero()[:, 0]


class CleanPass(NamedTuple):
    """A clean pass of the base over a batch of rollouts: predictions at every position, and the cache.

    Attributes:
        first: number of the first of them in the whole list.
        likeliest_kind: number of the likeliest kind, were a sentence to begin there; None where kinds are not
            compared.
    """

    first: int
    ids: Int[Tensor, "batch pos"]
    likeliest: Int[Tensor, "batch pos"]
    cache: DynamicCache
    likeliest_kind: Int[Tensor, "batch pos"] | None = None

    def context(self, rollout: Int[Tensor, " row"], position: Int[Tensor, " row"]) -> CleanPast:
        """The context of positions of these rollouts, numbered as in the whole list."""
        row = rollout - self.first
        past = torch.arange(self.ids.shape[1])[None, :] < position[:, None]
        device = self.ids.device
        cache = select_rows(self.cache, row.to(device))
        return CleanPast(cache, past.long().to(device), self.ids[row, position], position.to(device))


@torch.no_grad()
def clean_passes(
    host: Host, rollouts: Sequence[Rollout], *, batch_size: int = 32, openings: Openings | None = None
) -> Iterator[CleanPass]:
    """Teacher-forced passes of the unsteered host over the rollouts, right-padded, in order.

    Args:
        openings: first tokens of kinds, where the models are compared by kinds and not by tokens.
    """
    for first in range(0, len(rollouts), batch_size):
        batch = [r.all_ids for r in rollouts[first : first + batch_size]]
        width = max(len(ids) for ids in batch)
        ids = torch.tensor([[*row, *[host.pad_id] * (width - len(row))] for row in batch], device=host.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch], device=host.device)
        cache = DynamicCache()
        seen = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache}
        logits = run_alone(host, partial(host.model, **seen, use_cache=True)).logits
        kinds = None if openings is None else openings.likeliest(logits.flatten(0, 1)).view(ids.shape)
        yield CleanPass(first, ids, logits.argmax(-1), cache, kinds)


def find_disagreements(
    passes: Sequence[CleanPass], rollouts: Sequence[Rollout], kinds: Kinds
) -> Disagreements:
    """Compare the base's likeliest token with what the thinking model wrote, at tokens that it chose itself.

    Where the passes hold likeliest kinds, these are compared instead, where a sentence begins: a kind is as
    likely as all of its first words together, and another word for the same kind is no disagreement.

    Raises:
        DataError: the models agree everywhere: there is nothing to steer.
    """
    rows, chosen = [], 0
    for clean in passes:
        for i in range(len(clean.ids)):
            r = clean.first + i
            rollout = rollouts[r]
            begin, n = len(rollout.prompt_ids), len(rollout.ids)
            before = slice(begin - 1, begin - 1 + n)  # logits at a token predict the next one
            written = torch.tensor(rollout.ids)
            of_text = with_ends(kinds, rollout.ids[-1:] if rollout.stop == "eos" else ())
            category = of_text.label(written)
            if clean.likeliest_kind is None:
                apart = clean.likeliest[i, before].cpu() != written
            else:
                (begins,) = sentence_starts(of_text, [rollout.ids])
                apart = (clean.likeliest_kind[i, before].cpu() != category) & begins
            model_chosen = ~torch.tensor(rollout.by_environment)
            chosen += int(model_chosen.sum())
            for t in (apart & model_chosen).nonzero()[:, 0].tolist():
                rows.append((r, begin + t - 1, rollout.ids[t], int(category[t])))
    if not rows:
        raise DataError(
            f"base and thinking model agree on all {chosen} tokens of {len(rollouts)} rollouts"
            + (" as far as kinds of sentence go" if passes[0].likeliest_kind is not None else ""),
            do="choose a pair that differs: there is nothing to steer",
        )
    columns = torch.tensor(rows).T
    return Disagreements(columns[0], columns[1], columns[2], columns[3], rate=len(rows) / chosen)
