"""Where the base would have written another token than the thinking model did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hosts.turn import of_this_thread, run_alone
from reasonmech.kinds import Kinds, Openings, sentence_starts, with_ends
from reasonmech.rollout import Rollout
from reasonmech.runtime.rerun import CleanPast, Edit, rerun, select_rows
from reasonmech.runtime.served import BlockOutput, served
from reasonmech.shapes import NextLogits
from reasonmech.site import Site

LOGITS: Final = 2**26  # held at once: 256 MB in float32


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

    def rows_in(self, clean: SteeredPass) -> Int[Tensor, " row"]:
        """Numbers of the rows that lie in the rollouts of one pass."""
        inside = (self.rollout >= clean.first) & (self.rollout < clean.first + len(clean.ids))
        return inside.nonzero()[:, 0]


class ReadPass(Protocol):
    """What a clean host would write after every token of some rollouts."""

    @property
    def first(self) -> int:
        """Number of the first of them in the whole list."""
        ...

    @property
    def ids(self) -> Int[Tensor, "batch pos"]: ...

    @property
    def likeliest(self) -> Int[Tensor, "batch pos"]: ...

    @property
    def likeliest_kind(self) -> Int[Tensor, "batch pos"] | None: ...


class SteeredPass(Protocol):
    """Some rollouts at whose positions a host can be steered."""

    @property
    def first(self) -> int: ...

    @property
    def ids(self) -> Int[Tensor, "batch pos"]: ...

    def row_bytes(self) -> int:
        """Bytes of keys and values that one steered position takes."""
        ...

    def steered(
        self, host: Host, site: Site, rollout: Int[Tensor, " row"], position: Int[Tensor, " row"], edit: Edit
    ) -> NextLogits:
        """Next-token logits at positions of rollouts, numbered as in the whole list, under an edit there."""
        ...


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

    def row_bytes(self) -> int:
        return cache_bytes(self.cache) // len(self.ids)

    def steered(
        self, host: Host, site: Site, rollout: Int[Tensor, " row"], position: Int[Tensor, " row"], edit: Edit
    ) -> NextLogits:
        return rerun(host, self.context(rollout, position), site, edit)


def cache_bytes(cache: DynamicCache) -> int:
    """Bytes of the keys and values that a cache holds."""
    tensors = [
        x for layer in cache.layers if isinstance(layer, DynamicLayer) for x in (layer.keys, layer.values)
    ]
    return sum(x.numel() * x.element_size() for x in tensors if x is not None)


@torch.no_grad()
def clean_passes(
    host: Host, rollouts: Sequence[Rollout], *, batch_size: int = 32, openings: Openings | None = None
) -> Iterator[CleanPass]:
    """Teacher-forced passes of the unsteered host over the rollouts, right-padded, in order.

    Each holds its keys and values: whoever keeps them all needs memory for all texts (`cache_bytes`).

    Args:
        openings: first tokens of kinds, where the models are compared by kinds and not by tokens.
    """
    for first in range(0, len(rollouts), batch_size):
        texts = TextBatch.of(host, rollouts[first : first + batch_size])
        cache = DynamicCache()
        likeliest = texts.likeliest(host, openings, cache=cache)
        yield CleanPass(first, texts.ids, likeliest.token, cache, likeliest.kind)


class Likeliest(NamedTuple):
    """Likeliest next token, and, where kinds are compared, likeliest next kind; [batch, pos]."""

    token: Int[Tensor, "batch pos"]
    kind: Int[Tensor, "batch pos"] | None


class TextBatch(NamedTuple):
    """Texts side by side, padded on the right: ids and attention mask [batch, pos], on the host's device."""

    ids: Int[Tensor, "batch pos"]
    mask: Int[Tensor, "batch pos"]

    @classmethod
    def of(cls, host: Host, rollouts: Sequence[Rollout]) -> TextBatch:
        rows = [r.all_ids for r in rollouts]
        width = max(len(ids) for ids in rows)
        ids = torch.tensor([[*row, *[host.pad_id] * (width - len(row))] for row in rows], device=host.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=host.device)
        return cls(ids, mask)

    def likeliest(
        self,
        host: Host,
        openings: Openings | None,
        *,
        cache: DynamicCache | None = None,
        known: BlockOutput | None = None,
    ) -> Likeliest:
        """What the host would write after every token; the logits of all tokens are never there at once."""
        last = f"resid_post.{host.n_layers - 1}"
        streams: list[Tensor] = []
        handle = host.hook_point(last).attach(of_this_thread(streams.append))
        try:
            self.run(host, cache, known)
        finally:
            handle.remove()
        at_once = max(1, LOGITS // host.vocab_size)
        tokens, kinds = [], []
        for stream in streams[0].flatten(0, 1).split(at_once):
            logits = host.logits_of(stream)
            tokens.append(logits.argmax(-1))
            if openings is not None:
                kinds.append(openings.likeliest(logits))
        shape = self.ids.shape
        return Likeliest(torch.cat(tokens).view(shape), torch.cat(kinds).view(shape) if kinds else None)

    def run(self, host: Host, cache: DynamicCache | None, known: BlockOutput | None = None) -> None:
        """One pass, which fills a cache; blocks up to one whose output is known are not run."""

        def forward() -> None:
            with served(host, known):
                host.model(
                    input_ids=self.ids,
                    attention_mask=self.mask,
                    past_key_values=cache,
                    use_cache=cache is not None,
                    logits_to_keep=1,
                )

        run_alone(host, forward)


def find_disagreements(
    passes: Iterable[ReadPass], rollouts: Sequence[Rollout], kinds: Kinds
) -> Disagreements:
    """Compare the base's likeliest token with what the thinking model wrote, at tokens that it chose itself.

    Where the passes hold likeliest kinds, these are compared instead, where a sentence begins: a kind is as
    likely as all of its first words together, and another word for the same kind is no disagreement. Passes
    are read one by one; from a generator no more than one is there.

    Raises:
        DataError: the models agree everywhere: there is nothing to steer.
    """
    rows, chosen, by_kind = [], 0, False
    for clean in passes:
        by_kind = clean.likeliest_kind is not None
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
            + (" as far as kinds of sentence go" if by_kind else ""),
            do="choose a pair that differs: there is nothing to steer",
        )
    columns = torch.tensor(rows).T
    return Disagreements(columns[0], columns[1], columns[2], columns[3], rate=len(rows) / chosen)
