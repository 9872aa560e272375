"""Streams: what sites hold at chosen tokens of texts, and the hooks that read it while a pass runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import of_this_thread
from reasonmech.runtime.like_lengths import like_lengths
from reasonmech.runtime.memory import halving
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.passes import full_logits, step_of
from reasonmech.shapes import Mask
from reasonmech.site import Site

Streams: TypeAlias = Mapping[Site, Float[Tensor, "token width"]]


class _LastSiteRead(Exception):
    """Raised by the last site's hook: nothing above it needs to run."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class ChosenTokens:
    """Some tokens of every text. A stream at them is [token, width], texts laid end to end.

    Attributes:
        texts: rows of a run.
        positions: absolute positions of every text, in the order in which streams hold them.

    Raises:
        DataError: positions of another number of texts.
    """

    texts: Sequence[PassRow]
    positions: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        if len(self.positions) != len(self.texts):
            raise DataError(
                f"positions of {len(self.positions)} texts, there are {len(self.texts)}",
                do="give every text its positions",
            )

    def __len__(self) -> int:
        return sum(map(len, self.positions))

    def __repr__(self) -> str:
        return f"ChosenTokens({len(self)} tokens of {len(self.texts)} texts)"

    def by_text(self, stream: Float[Tensor, "token width"]) -> Sequence[Float[Tensor, "position width"]]:
        """The part of a stream that belongs to each text."""
        return stream.split([len(positions) for positions in self.positions])


def read_streams(host: Host, tokens: ChosenTokens, sites: Sequence[Site], *, batch_rows: int = 64) -> Streams:
    """What sites hold at chosen tokens, float32, each on its own device.

    Args:
        batch_rows: texts per pass; halved, with a warning, where memory is short.
    """
    texts, by_text = tokens.texts, dict[int, dict[Site, Tensor]]()

    def run(numbers: Sequence[int]) -> list[dict[Site, Tensor]]:
        step = step_of(host, [texts[number] for number in numbers], numbers)
        with read_until_last(host, sites) as streams:
            full_logits(host, step, last_logits=1)
        columns = [
            columns_of(mask, tokens.positions[number])
            for mask, number in zip(step.mask, numbers, strict=True)
        ]
        return [
            {site: x[row, of_row.to(x.device)].float() for site, x in streams.items()}
            for row, of_row in enumerate(columns)
        ]

    for numbers in like_lengths([len(text.ids) for text in texts], batch_rows):
        by_text |= zip(numbers, halving(numbers, run, what="text")[0], strict=True)
    return {site: torch.cat([by_text[number][site] for number in range(len(texts))]) for site in sites}


def columns_of(mask: Mask, positions: Sequence[int]) -> Int[Tensor, " position"]:
    """Columns of a left-padded row [pos] at which absolute positions stand."""
    return torch.tensor(positions, dtype=torch.long) + int((~mask).sum())


@contextmanager
def read_until_last(host: Host, sites: Sequence[Site]) -> Iterator[Mapping[Site, Float[Tensor, "..."]]]:
    """What sites hold in the one pass that is run inside; it ends at the last of them and builds no graph."""
    streams: dict[Site, Tensor] = {}

    def take(site: Site, x: Tensor) -> None:
        streams[site] = x
        if len(streams) == len(sites):
            raise _LastSiteRead

    # not inference_mode: some rotary embeddings cache what they compute in the model
    with torch.no_grad(), suppress(_LastSiteRead), attached(host, sites, take):
        yield streams


@contextmanager
def attached(
    host: Host, sites: Sequence[Site], observe: Callable[[Site, Tensor], Tensor | None]
) -> Iterator[None]:
    """Show `observe` every site's stream, in the order of the pass; what it returns takes its place."""
    handles = []
    try:
        for site in sorted(sites, key=lambda site: site.depth):
            handles.append(host.hook_point(site).attach(of_this_thread(partial(observe, site))))
        yield
    finally:
        for handle in handles:
            handle.remove()
