"""PartnerReadings: what the gates of a pass may know that the pass itself does not compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, final

from reasonmech.shapes import NextLogits, Residual
from reasonmech.site import Site


@final
@dataclass(frozen=True, eq=False)
class PartnerReadings:
    """One pass of the other host of a pair over the same columns, and clean logits.

    Attributes:
        streams: of the other host, by whole site: [batch, new, width].
        host_logits, partner_logits: clean ones of the last column, of this host and of the other one.
    """

    streams: Mapping[Site, Residual] = field(default_factory=dict)
    host_logits: NextLogits | None = None
    partner_logits: NextLogits | None = None

    def take(self, columns: slice) -> PartnerReadings:
        """The same of some columns."""
        return replace(self, streams={site: stream[:, columns] for site, stream in self.streams.items()})


NOTHING: Final = PartnerReadings()
