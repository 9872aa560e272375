"""Contrast: two runs of one model, and the tokens at which they are compared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.causal.aligned_pairs import AlignedPairs
from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Whole
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.masks import Where, at
from reasonmech.interventions.verbs import patch
from reasonmech.runtime.readout import Readout
from reasonmech.runtime.streams import ChosenTokens
from reasonmech.site import Site


@final
@dataclass(frozen=True, eq=False)
class Contrast:
    """Two runs that are compared at some tokens: the target, which is run and edited, and the source.

    Attributes:
        pairs: the texts, paired and aligned.
        metric: read after every text of the target.

    Raises:
        DataError: two names for one token of a text.
    """

    host: Host
    pairs: AlignedPairs
    metric: Readout

    def __post_init__(self) -> None:
        for text, positions in zip(self.pairs.target, self.at_target, strict=True):
            if len(set(positions)) < len(positions):
                raise DataError(
                    f"two names for one token of {text.name}: positions {sorted(positions)}",
                    do="name every token once: its effect would be counted twice",
                )

    @cached_property
    def at_target(self) -> list[tuple[int, ...]]:
        """Positions of the compared tokens in every text of the target."""
        return [tuple(self.pairs.move(place).target for place in places) for places in self.pairs.places]

    @cached_property
    def at_source(self) -> list[tuple[int, ...]]:
        """Positions of the same tokens in every text of the source."""
        return [tuple(self.pairs.move(place).source for place in places) for places in self.pairs.places]

    @property
    def target_tokens(self) -> ChosenTokens:
        """The compared tokens of the target."""
        return ChosenTokens(self.pairs.target, self.at_target)

    @property
    def source_tokens(self) -> ChosenTokens:
        """The compared tokens of the source."""
        return ChosenTokens(self.pairs.source, self.at_source)

    @cached_property
    def where(self) -> Where:
        """The mask that names the compared tokens of the target."""
        return at(per_row=self.at_target)

    @property
    def n_tokens(self) -> int:
        return sum(len(places) for places in self.pairs.places)

    def by_row(self, stream: Float[Tensor, "token width"]) -> Float[Tensor, "row pos width"]:
        """Compared tokens, laid end to end, as a source of `patch`: by row and position, 0 elsewhere."""
        last = max(position for positions in self.at_target for position in positions)
        rows = torch.tensor([row for row, positions in enumerate(self.at_target) for _ in positions])
        columns = torch.tensor([position for positions in self.at_target for position in positions])
        out = stream.new_zeros(len(self.at_target), last + 1, stream.shape[-1])
        out[rows.to(out.device), columns.to(out.device)] = stream
        return out

    def put(self, site: Site, stream: Float[Tensor, "token width"]) -> Intervention:
        """The intervention that makes the compared tokens hold this stream."""
        return patch(Whole(site), self.by_row(stream), where=self.where)

    def check_differs(self, site: Site, difference: Float[Tensor, "token width"]) -> None:
        """Raise DataError where both runs hold the same at a site: then there is nothing to attribute."""
        if not bool(difference.any()):
            raise DataError(
                f"both runs hold the same at {site}, at all {self.n_tokens} compared tokens",
                allowed="tokens that the difference between the texts has reached",
                do="name other positions, or a later site",
            )
