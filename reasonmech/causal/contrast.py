"""Contrast: a coder's site in two runs, token by token, and what moving some of its features adds to the
stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.causal.exchange import Exchange
from reasonmech.coders.coder import SparseCoder, reconstruct
from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Features, Whole
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.masks import Where, at
from reasonmech.interventions.verbs import patch
from reasonmech.runtime.readout import Readout
from reasonmech.site import Site

CODES_AT_ONCE: Final = 2**26  # activations of one batch of tokens: 256 MB in float32


@final
@dataclass(frozen=True, eq=False)
class Contrast:
    """Two runs that are compared at some tokens: the target, which is run and edited, and the source.

    Attributes:
        pairs: the texts, paired and aligned.
        metric: read after every text of the target.
        transfer: coders may come from another model than the host.

    Raises:
        DataError: two names for one token of a text.
    """

    host: Host
    pairs: Exchange
    metric: Readout
    transfer: bool = False

    def __post_init__(self) -> None:
        for text, here in zip(self.pairs.target, self.at_target, strict=True):
            if len(set(here)) < len(here):
                raise DataError(
                    f"two names for one token of {text.name}: positions {sorted(here)}",
                    do="name every token once: its effect would be counted twice",
                )

    @cached_property
    def at_target(self) -> list[tuple[int, ...]]:
        """Positions of the compared tokens in every text of the target."""
        noise = self.pairs.direction == "noise"
        return [
            tuple(place.clean if noise else place.corrupt for place in places) for places in self.pairs.places
        ]

    @cached_property
    def at_source(self) -> list[tuple[int, ...]]:
        """Positions of the same tokens in every text of the source."""
        noise = self.pairs.direction == "noise"
        return [
            tuple(place.corrupt if noise else place.clean for place in places) for places in self.pairs.places
        ]

    @cached_property
    def where(self) -> Where:
        """The mask that names the compared tokens of the target."""
        return at(per_row=self.at_target)

    @property
    def n_tokens(self) -> int:
        return sum(len(places) for places in self.pairs.places)

    def laid_out(self, stream: Float[Tensor, "token width"]) -> Float[Tensor, "row pos width"]:
        """Compared tokens, laid end to end, as a source of `patch`: by row and absolute position, 0
        elsewhere."""
        last = max(position for positions in self.at_target for position in positions)
        rows = torch.tensor([row for row, positions in enumerate(self.at_target) for _ in positions])
        columns = torch.tensor([position for positions in self.at_target for position in positions])
        out = stream.new_zeros(len(self.at_target), last + 1, stream.shape[-1])
        out[rows.to(out.device), columns.to(out.device)] = stream
        return out

    def put(self, site: Site, stream: Float[Tensor, "token width"]) -> Intervention:
        """The intervention that makes the compared tokens hold this stream."""
        return patch(Whole(site), self.laid_out(stream), where=self.where)

    def check_coder(self, coder: SparseCoder) -> None:
        """Raise MismatchError or UnknownNameError unless it fits the host."""
        Features(coder, (0,), transfer=self.transfer).check(self.host)

    def check_differs(self, site: Site, difference: Float[Tensor, "token width"]) -> None:
        """Raise DataError where both runs hold the same at a site: then there is nothing to attribute."""
        if not bool(difference.any()):
            raise DataError(
                f"both runs hold the same at {site}, at all {self.n_tokens} compared tokens",
                allowed="tokens that the difference between the texts has reached",
                do="name other positions, or a later site",
            )


def changes(
    coder: SparseCoder, target: Float[Tensor, "token width"], source: Float[Tensor, "token width"]
) -> Iterator[tuple[slice, Float[Tensor, "some feature"]]]:
    """f(source) - f(target) of every feature, in activation units, for some tokens after the other."""
    size = max(1, CODES_AT_ONCE // coder.d_sae)
    with torch.no_grad():
        for start in range(0, len(target), size):
            some = slice(start, start + size)
            codes = (
                coder.encode(x[some].to(device=coder.device, dtype=coder.dtype)) for x in (source, target)
            )
            after, before = (found.to(target) for found in codes)
            yield some, after - before


@final
class Parts:
    """A site's two streams in the terms of its coder.

    source - target = sum_i (f_i(source) - f_i(target)) rows_i + error(source) - error(target)

    Attributes:
        target, source: what the site holds at the compared tokens [token, width], float32.
        all_moved: what moving all features from target to source adds to the stream [token, width].
        error_moved: what moving the coder's reconstruction error adds.
    """

    def __init__(
        self,
        coder: SparseCoder,
        target: Float[Tensor, "token width"],
        source: Float[Tensor, "token width"],
        features: Iterable[int],
    ) -> None:
        """`features` are those that `moved` may be asked for."""
        self.coder, self.target, self.source = coder, target, source
        known = sorted(set(features))
        self._place = {feature: i for i, feature in enumerate(known)}
        rows = coder.rows(range(coder.d_sae)).detach().to(target)
        self._rows = rows[known]
        own, moved = target.new_empty(len(target), len(known)), torch.empty_like(target)
        for some, change in changes(coder, target, source):
            own[some], moved[some] = change[:, known], change @ rows
        self._change = own
        self.all_moved = moved
        self.error_moved = source - target - moved

    @property
    def reconstruction(self) -> Float[Tensor, "token width"]:
        """decode(encode(target)): the target without the coder's error."""
        with torch.no_grad():
            return reconstruct(self.coder, self.target)

    def moved(self, features: Sequence[int]) -> Float[Tensor, "token width"]:
        """What moving these features from target to source adds to the stream."""
        index = [self._place[feature] for feature in features]
        return self._change[:, index] @ self._rows[index]
