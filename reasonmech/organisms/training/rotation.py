"""The same function in other weights: the residual stream rotated, heads and neurons reordered.

RMS norm commutes with every orthogonal Q once its gain g is folded into the weights that read it: with x' = x
Q, norm(x') = norm(x) Q. So embeddings and writing matrices are multiplied by Q, reading matrices W by diag(g)
Q, and the logits stay what they were (Elhage et al. 2021: the residual stream has no privileged basis;
Ashkboos et al. 2024, arXiv 2401.15024, section 3.2, rotate in this way to compress).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from reasonmech.errors import MismatchError

ROTATABLE: Final = ("llama", "mistral", "qwen2", "qwen3")
"""Model types whose residual stream meets RMS norms only, each with a gain and before what reads it."""

Rotate = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rotation:
    """How a model is rotated: the stage of a recipe that takes no training.

    Attributes:
        seed: of the rotation and the orders.
        permute: also put heads and neurons of every layer in another order.
    """

    seed: int = 0
    permute: bool = True

    def apply(self, model: PreTrainedModel) -> PreTrainedModel:
        """`rotate` with these settings; `model` is left as it is."""
        return rotate(model, seed=self.seed, permute=self.permute)


@torch.no_grad()
def rotate(model: PreTrainedModel, *, seed: int = 0, permute: bool = True) -> PreTrainedModel:
    """A model with the same logits whose weights, activations and feature directions are others.

    The embedding and the unembedding are untied, for the final norm's gain belongs to one of them only.
    Everything is computed element by element in float64 and rounded once, so the result is the same, to the
    bit, on every machine.

    Args:
        seed: of the rotation and the orders.
        permute: also put heads and neurons of every layer in another order.

    Raises:
        MismatchError: the architecture is none of `ROTATABLE`.
    """
    kind = model.config.model_type
    if kind not in ROTATABLE:
        raise MismatchError(
            f"a model of type {kind!r} cannot be rotated",
            allowed=", ".join(ROTATABLE),
            do="choose a model whose residual stream meets RMS norms only",
        )
    twin: Any = copy.deepcopy(model)  # transformers types the parts of a model as anything
    rng = torch.Generator().manual_seed(seed)
    turn = plane_rotations(twin.config.hidden_size, rng)
    _untie(twin)
    # The order in which `rng` is used is part of tiny-rotated: another order makes another twin.
    _rotate_writing(twin.model.embed_tokens, turn, columns=False)
    for block in twin.model.layers:
        attention, mlp = block.self_attn, block.mlp
        _rotate_reading((attention.q_proj, attention.k_proj, attention.v_proj), block.input_layernorm, turn)
        _rotate_writing(attention.o_proj, turn)
        _rotate_reading((mlp.gate_proj, mlp.up_proj), block.post_attention_layernorm, turn)
        _rotate_writing(mlp.down_proj, turn)
        if permute:
            _permute_heads(attention, twin.config, rng)
            _reorder(
                torch.randperm(mlp.down_proj.in_features, generator=rng),
                (mlp.gate_proj, mlp.up_proj),
                mlp.down_proj,
            )
    _rotate_reading((twin.lm_head,), twin.model.norm, turn)
    return twin


def plane_rotations(width: int, rng: torch.Generator) -> Rotate:
    """x -> x Q along the last axis, Q a product of random rotations in pairs of coordinates.

    In each of 4 ceil(log2 width) rounds all coordinates are paired at random and every pair is turned by an
    angle of its own: enough that each coordinate ends up spread over all of them. Sines and cosines are
    rational functions of a random number, and nothing is summed over more than two terms: no machine rounds
    it otherwise.
    """
    rounds = []
    for _ in range(4 * max(1, math.ceil(math.log2(width)))):
        order = torch.randperm(width, generator=rng)[: width // 2 * 2]
        tangent = torch.rand(width // 2, generator=rng, dtype=torch.float64) * 2 - 1  # of half the angle
        square = tangent * tangent
        rounds.append((order[0::2], order[1::2], (1 - square) / (1 + square), 2 * tangent / (1 + square)))

    def turn(x: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows width"]:
        y = x.to(torch.float64).clone()
        for first, second, cosine, sine in rounds:
            a, b = y[..., first], y[..., second]
            y[..., first] = cosine * a - sine * b
            y[..., second] = sine * a + cosine * b
        return y

    return turn


def _untie(model: Any) -> None:
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone(), requires_grad=False)
    model.lm_head.weight.requires_grad_(model.model.embed_tokens.weight.requires_grad)
    model.config.tie_word_embeddings = False


def _rotate_reading(layers: tuple[nn.Linear, ...], norm: Any, turn: Rotate) -> None:
    """Fold the norm's gain into what reads it, then rotate the reading side."""
    for layer in layers:
        layer.weight.copy_(turn(layer.weight.to(torch.float64) * norm.weight.to(torch.float64)))
    norm.weight.fill_(1.0)


def _rotate_writing(layer: nn.Linear | nn.Embedding, turn: Rotate, *, columns: bool = True) -> None:
    """Rotate what is added to the stream: columns of a matrix (and its bias), or rows of an embedding."""
    layer.weight.copy_(turn(layer.weight.T).T if columns else turn(layer.weight))
    if isinstance(layer, nn.Linear) and layer.bias is not None:
        layer.bias.copy_(turn(layer.bias))


def _permute_heads(attention: Any, config: Any, rng: torch.Generator) -> None:
    """Groups of heads that share keys and values are reordered, and the heads within each."""
    n_kv, heads = config.num_key_value_heads, config.num_attention_heads
    per_group, d_head = heads // n_kv, attention.o_proj.in_features // heads
    groups = torch.randperm(n_kv, generator=rng)
    queries = torch.cat([group * per_group + torch.randperm(per_group, generator=rng) for group in groups])
    _reorder(_head_rows(queries, d_head), (attention.q_proj,), attention.o_proj)
    _reorder(_head_rows(groups, d_head), (attention.k_proj, attention.v_proj), None)


def _head_rows(heads: Int[Tensor, " heads"], d_head: int) -> Int[Tensor, " rows"]:
    return (heads[:, None] * d_head + torch.arange(d_head)).flatten()


def _reorder(order: Int[Tensor, " inner"], into: tuple[nn.Linear, ...], out: nn.Linear | None) -> None:
    """Put the rows of what feeds an inner axis, and the columns of what reads it, in another order."""
    for layer in into:
        layer.weight.copy_(layer.weight[order].clone())
        if layer.bias is not None:
            layer.bias.copy_(layer.bias[order].clone())
    if out is not None:
        out.weight.copy_(out.weight[:, order].clone())
