"""Axis vocabulary: every shape in a public signature is made of these; those that recur have a name.

batch: rows of a batch · pos: token positions · d_model: width of the residual stream ·
feature: features of a sparse coder · coord: coordinates an axis reads (k features, or 1 of a direction) ·
vocab: tokens of the vocabulary · token: tokens of many texts, laid end to end.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

Tokens = Int[Tensor, "batch pos"]
Mask = Bool[Tensor, "batch pos"]
Residual = Float[Tensor, "batch pos d_model"]
NextLogits = Float[Tensor, "batch vocab"]
