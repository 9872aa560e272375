"""StreamDifference: the difference between two streams of a site, in the terms of a coder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.coders.coder import SparseCoder, reconstruct

CODES_AT_ONCE: Final = 2**26  # activations of one batch of tokens: 256 MB in float32


def activation_changes(
    coder: SparseCoder, target: Float[Tensor, "token width"], source: Float[Tensor, "token width"]
) -> Iterator[tuple[slice, Float[Tensor, "batch feature"]]]:
    """f(source) - f(target) of every feature, in activation units, one batch of tokens after the other."""
    size = max(1, CODES_AT_ONCE // coder.d_sae)
    with torch.no_grad():
        for start in range(0, len(target), size):
            batch = slice(start, start + size)
            # float32 again before the difference, which a coder in bfloat16 would round away
            at_source, at_target = (
                coder.encode(x[batch].to(device=coder.device, dtype=coder.dtype)).to(target)
                for x in (source, target)
            )
            yield batch, at_source - at_target


@final
class StreamDifference:
    """What moving features of a coder from the target to the source adds to the stream.

    source - target = sum_i (f_i(source) - f_i(target)) rows_i + error(source) - error(target)

    Attributes:
        target, source: what the site holds at the compared tokens [token, width], float32.
        of_all: what moving all features from target to source adds to the stream [token, width].
        of_error: what moving the coder's reconstruction error adds.
    """

    def __init__(
        self,
        coder: SparseCoder,
        target: Float[Tensor, "token width"],
        source: Float[Tensor, "token width"],
        features: Iterable[int],
    ) -> None:
        """`features` are those that `of` may be called with."""
        self.coder, self.target, self.source = coder, target, source
        known = sorted(set(features))
        self._column = {feature: i for i, feature in enumerate(known)}
        rows = coder.rows(range(coder.d_sae)).detach().to(target)
        self._rows = rows[known]
        self._change = target.new_empty(len(target), len(known))
        self.of_all = torch.empty_like(target)
        for batch, change in activation_changes(coder, target, source):
            self._change[batch], self.of_all[batch] = change[:, known], change @ rows
        self.of_error = source - target - self.of_all

    @property
    def reconstruction(self) -> Float[Tensor, "token width"]:
        """decode(encode(target)): the target without the coder's error."""
        with torch.no_grad():
            return reconstruct(self.coder, self.target)

    def of(self, features: Sequence[int]) -> Float[Tensor, "token width"]:
        """What moving these features from target to source adds to the stream."""
        columns = [self._column[feature] for feature in features]
        return self._change[:, columns] @ self._rows[columns]
