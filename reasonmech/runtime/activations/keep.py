"""Keep: which tokens a capture keeps, in which form, and what its index says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.arguments import check_type, check_whole, describe
from reasonmech.coders import SparseCoder
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, DataError
from reasonmech.interventions.masks import EVERYWHERE, Where
from reasonmech.rollout import Rollout

CELLS: Final = 2**24  # feature activations held at once: 64 MB in float32
SHARD_TOKENS: Final = 2**18
DTYPES: Final = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
NO_FEATURE: Final = -1  # stands where fewer than k features are active


class TokenColumns(Protocol):
    """Further columns of an index: what a higher layer knows of each token (behaviours' TraceColumns are
    one).

    The same text gives the same columns every time: a store reads them once to plan and once to write.
    """

    def __call__(self, number: int, text: Rollout | str) -> Mapping[str, np.ndarray]:
        """One value (bool, integer or string) for every token of the text, prompt included, per column.

        Every text has the same columns. `number` counts the texts of the capture from 0.
        """
        ...


class TopRows(NamedTuple):
    """The k strongest features of some tokens.

    Attributes:
        features: [token, k] which, strongest first; -1 where fewer than k are active.
        values: [token, k] their activations, 0 where there is none.
        n_active: [token] how many were active before the cut.
    """

    features: Int[Tensor, "token k"]
    values: Float[Tensor, "token k"]
    n_active: Int[Tensor, " token"]


@checked
@final
@dataclass(frozen=True, eq=False)
class TopCodes:
    """Keep the k strongest features of a coder in place of the stream: 6 to 8 bytes each.

    A token with more than k active features loses the weakest; the index column `n_active` says how many it
    had.

    Raises:
        DataError: k is not in 1 .. d_sae.
    """

    coder: SparseCoder
    k: int

    def __post_init__(self) -> None:
        check_type(self.coder, SparseCoder, name="coder", allowed="a sparse coder", do="TopCodes(coder, k=8)")
        check_whole(self.k, name="k")
        if not 1 <= self.k <= self.coder.d_sae:
            raise DataError(
                f"the {self.k} strongest features", allowed=f"1 .. {self.coder.d_sae}, which it has"
            )

    @torch.no_grad()
    def of(self, x: Float[Tensor, "token d_model"]) -> TopRows:
        """Encode in chunks on the coder's device; values in the coder's dtype, on the CPU."""
        chunks = [self._strongest(chunk) for chunk in x.split(max(1, CELLS // self.coder.d_sae))]
        return TopRows(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))

    def _strongest(self, x: Tensor) -> TopRows:
        active = self.coder.encode(x.to(self.coder.device, self.coder.dtype))
        features = active.abs().topk(self.k, dim=-1).indices
        values = active.gather(-1, features)
        features = features.masked_fill(values == 0, NO_FEATURE).to(torch.int32)
        return TopRows(features.cpu(), values.cpu(), (active != 0).sum(-1).to(torch.int32).cpu())

    def to_json(self) -> dict[str, Any]:
        """Whose features: what `Activations.codes_of` says."""
        coder = self.coder
        return {"coder": coder.name, "coder_hash": coder.weight_hash, "d_sae": coder.d_sae, "k": self.k}


@checked
@final
@dataclass(frozen=True, eq=False)
class Keep:
    """What a capture keeps of every text, and in which portions it reads and writes.

    Attributes:
        where: which tokens; a mask of the plan language. `labelled(name)` reads a column of truth values by
            its name, and a value of another column as "column=value": `labelled("kind=check")`.
        codes: features of a coder in place of the stream. None: the stream.
        columns: further columns of the index. None: none.
        shard_tokens: tokens run (not kept) per file of a store; a kill costs at most so many. Files of more
            than 256 MB are cut earlier.
        dtype: of what is kept: float64, float32, bfloat16 or float16. None: the model's.
        batch_size: texts per pass; halved, with a warning, where memory is short.

    Raises:
        DataError: no token per file, no text per pass, or another dtype.
    """

    where: Where = EVERYWHERE
    codes: TopCodes | None = None
    columns: TokenColumns | None = None
    shard_tokens: int = SHARD_TOKENS
    dtype: torch.dtype | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_type(
            self.where, Where, name="where", allowed="a mask such as rm.generated() or rm.labelled(...)"
        )
        if self.codes is not None:
            check_type(self.codes, TopCodes, name="codes", allowed="TopCodes(coder, k)")
        if self.columns is not None and not callable(self.columns):
            raise ArgumentError(
                f"columns is {describe(self.columns)}",
                allowed="columns of tokens, such as rm.behaviours.TraceColumns(...)",
                do="leave it out where no column is wanted",
            )
        if self.dtype is not None:
            check_type(self.dtype, torch.dtype, name="dtype", allowed=", ".join(map(str, DTYPES)))
        if self.shard_tokens < 1:
            raise DataError(f"{self.shard_tokens} tokens per file", allowed="1 or more")
        if self.batch_size < 1:
            raise DataError(f"batch_size={self.batch_size}", allowed="1 or more texts per pass")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise DataError(f"dtype={self.dtype}", allowed=", ".join(map(str, DTYPES)))


ALL: Final = Keep()
