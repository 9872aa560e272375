"""Partner: the other host of a pair, run clean and in lockstep, for the gates that read it."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import final

from jaxtyping import Int
from torch import Tensor

from reasonmech.hosts.hookpoint import Handle
from reasonmech.hosts.host import Host
from reasonmech.interventions.partner_readings import PartnerReadings
from reasonmech.runtime.decoding.decoder import DecoderState
from reasonmech.site import Site


@final
class Partner:
    """A batch of the other host over the very same text; what its sites read is stored for one pass.

    Attributes:
        vocab_size: tokens that it can read.
    """

    def __init__(self, host: Host, state: DecoderState, sites: Collection[Site]) -> None:
        """Hooks come out with `close`.

        Args:
            state: the host's own, without a plan.
            sites: whole sites that gates read.
        """
        self._state, self._streams, self.vocab_size = state, dict[Site, Tensor](), host.vocab_size
        self._handles: list[Handle] = []
        try:
            for site in sites:
                self._handles.append(host.hook_point(site).attach(partial(self._store, site)))
        except BaseException:
            self.close()
            raise

    def _store(self, site: Site, stream: Tensor) -> None:
        self._streams[site] = stream

    def read(self) -> PartnerReadings:
        """Run the columns that are new."""
        self._streams.clear()
        logits = self._state.next_logits()
        return PartnerReadings(streams=dict(self._streams), partner_logits=logits)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        """Append the token that was really written to every row."""
        self._state.advance(tokens)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Drop all rows but these."""
        self._state.select(rows)

    def close(self) -> None:
        """Take the hooks out."""
        for handle in self._handles:
            handle.remove()
        self._state.close()
