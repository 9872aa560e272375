"""Content hashes: two things with the same hash are the same, down to the bit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reasonmech.errors import MismatchError

if TYPE_CHECKING:
    from torch import Tensor


def hash_tensors(tensors: Mapping[str, Tensor], *, salt: str = "") -> str:
    """SHA-256 over name, dtype, shape and bytes of every tensor, in name order; `salt` is hashed first."""
    import torch

    digest = hashlib.sha256(salt.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_weights(what: str, recorded: str | None, *, model: str, weights: str, do: str) -> None:
    """Raise MismatchError where something that belongs to one model's weights meets another model.

    An SAE, or a store, of other weights runs without complaint and gives plausible numbers that mean nothing.

    Args:
        what: what it is and what it has to do with its model: "coder 'x' was trained on weights".
        recorded: hash of the weights that it belongs to. None: nobody recorded them, so nothing is compared.
        model, weights: which model it meets ("host 'y'"), and that model's `weight_hash`.
        do: what the caller can do.
    """
    if recorded is not None and recorded != weights:
        raise MismatchError(
            f"{what} {recorded[:12]}..., which are not of {model} ({weights[:12]}...)",
            allowed="the very weights, in the same dtype",
            do=do,
        )


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
