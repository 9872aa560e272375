"""Canonical JSON and its hash: what an intervention is called in every table and cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Amount: TypeAlias = float | Tensor
Json: TypeAlias = Any


def tensor_json(tensor: Tensor) -> dict[str, Json]:
    """Shape, dtype and SHA-256 of the content of a tensor."""
    plain = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(plain.flatten().view(torch.uint8).numpy().data).hexdigest()
    return {"shape": list(plain.shape), "dtype": str(plain.dtype).removeprefix("torch."), "sha256": digest}


def amount_json(amount: Amount) -> Json:
    """A number as itself, a tensor by its content."""
    return tensor_json(amount) if isinstance(amount, Tensor) else float(amount)


def fingerprint(value: Mapping[str, Json] | Sequence[Json]) -> str:
    """SHA-256 of canonical JSON: sorted keys, no blanks, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
