"""SparseCoder: what the library needs of a sparse autoencoder, whoever made it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.site import Site


@runtime_checkable
class SparseCoder(Protocol):
    """Features of one site, as an affine dictionary: decode(f) = sum_i f_i rows_i + const.

    Coders are values: `to` returns another one.

    Attributes:
        name: how results name it.
        site: where it was trained; it says nothing about any other site.
        d_in, d_sae: width of the site, number of features.
        model_hash: `weight_hash` of the model it was trained on, None where whoever trained it recorded none.
        weight_hash: SHA-256 of its own weights and of the settings that decide its activations.
    """

    @property
    def name(self) -> str: ...
    @property
    def site(self) -> Site: ...
    @property
    def d_in(self) -> int: ...
    @property
    def d_sae(self) -> int: ...
    @property
    def model_hash(self) -> str | None: ...
    @property
    def weight_hash(self) -> str: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...

    def encode(self, x: Float[Tensor, "*axes d_in"]) -> Float[Tensor, "*axes d_sae"]:
        """Activations of every feature, in activation units, in the coder's dtype."""
        ...

    def decode(self, features: Float[Tensor, "*axes d_sae"]) -> Float[Tensor, "*axes d_in"]:
        """The stream that these activations stand for."""
        ...

    def read(self, x: Float[Tensor, "*axes d_in"], indices: Sequence[int]) -> Float[Tensor, "*axes k"]:
        """Activations of k features: encode(x)[..., indices], computed for these alone where that is
        possible."""
        ...

    def rows(self, indices: Sequence[int]) -> Float[Tensor, "k d_in"]:
        """What one unit of each feature adds to the stream."""
        ...

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The same coder elsewhere or in another dtype."""
        ...

    def save(self, path: str | Path) -> None:
        """Write a new directory in SAELens' layout (cfg.json, sae_weights.safetensors)."""
        ...


def reconstruct(coder: SparseCoder, x: Float[Tensor, "*axes d_in"]) -> Float[Tensor, "*axes d_in"]:
    """decode(encode(x)) on the device and in the dtype of x: what the stream becomes without the coder's
    error."""
    return coder.decode(coder.encode(x.to(device=coder.device, dtype=coder.dtype))).to(x)


@runtime_checkable
class Trained(Protocol):
    """What a coder must know of the model it belongs to (a Host is one)."""

    @property
    def name(self) -> str: ...
    @property
    def weight_hash(self) -> str: ...
    @property
    def device(self) -> torch.device: ...

    def width(self, site: Site | str) -> int:
        """Numbers per token at a site."""
        ...
