"""Watched: a model's free run that notices where its splice with itself would write otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.hosts import Host
from reasonmech.organisms.ground_truth.splice import SplicedDecoder
from reasonmech.runtime.decoding.decode import choose
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.decoding.host_decoder import HostDecoder, HostState
from reasonmech.runtime.decoding.of_host import OfHost
from reasonmech.shapes import Mask, NextLogits, Tokens


@final
@dataclass(frozen=True, eq=False)
class Watched(OfHost):
    """Decoder: a host that writes freely. What its splice with itself would choose is asked at boundaries.

    The splice differs from the free run at boundaries alone, where it chooses among the tokens that begin a
    kind, a kind before its word. A row in which it would have chosen the free run's token, with the same
    noise, at every boundary, is its own splice, and need not be written twice.

    Args:
        splice: whose onset and executor are the host.
    """

    splice: SplicedDecoder
    _alike: dict[int, bool] = field(default_factory=dict, init=False, repr=False)

    @property
    def host(self) -> Host:
        return self.splice.executor.base

    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> WatchedState:
        free = HostDecoder.of(self.host).start(prompts, mask, rows, max_new_tokens)
        return WatchedState(self.splice, free, rows, self._alike)

    def alike(self, n: int) -> Bool[np.ndarray, " row"]:
        """Which of a run's n rows the splice writes token by token; of those written here alone."""
        return np.array([self._alike.get(row, False) for row in range(n)])


@final
class WatchedState:
    """A batch of the free run, and the boundaries at which the splice is asked."""

    def __init__(
        self, splice: SplicedDecoder, free: HostState, rows: list[RowInfo], alike: dict[int, bool]
    ) -> None:
        self._free, self._rows, self._alike = free, splice.rows, alike
        self._tracker, self._openings = splice.kinds.track(len(rows)), splice.openings
        self._temperature, self._numbers = rows[0].temperature, [row.index for row in rows]
        self._keys = torch.tensor([row.key for row in rows])
        self._position = torch.tensor([row.draw_start for row in rows])
        alike.update(dict.fromkeys(self._numbers, True))

    def next_logits(self) -> NextLogits:
        logits = self._free.next_logits()
        at = [
            row
            for row in self._tracker.boundary.nonzero().flatten().tolist()
            if self._alike[self._numbers[row]]
        ]
        if at:
            by_splice, by_itself = self._choices(
                logits[torch.tensor(at, device=logits.device)], torch.tensor(at)
            )
            for row, same in zip(at, (by_splice == by_itself).tolist(), strict=True):
                self._alike[self._numbers[row]] = same
        return logits

    def _choices(
        self, logits: NextLogits, at: Int[Tensor, " row"]
    ) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
        """The token that the splice would choose at these rows, and the model's own choice."""
        known = logits[:, : self._rows]
        kinds = self._openings.of_kinds(known)
        spliced = self._openings.compose(kinds, known, temperature=self._temperature)
        drawn = {"temperature": self._temperature, "keys": self._keys[at], "position": self._position[at]}
        return choose(spliced, **drawn).tokens, choose(logits, **drawn).tokens

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return self._free.ended(tokens)

    def steered(self) -> Bool[Tensor, " batch"]:
        return self._free.steered()

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._free.advance(tokens)
        self._tracker.advance(tokens.cpu())
        self._position = self._position + 1

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._free.select(rows)
        self._tracker.select(rows)
        self._numbers = [self._numbers[i] for i in rows.tolist()]
        self._keys, self._position = self._keys[rows], self._position[rows]

    def close(self) -> None:
        self._free.close()
