"""StaticDecoder: a Llama that writes many rows at once from buffers of fixed size, as a Decoder for training.

Hugging Face's forward pass of one token launches a kernel after another from Python, 15 ms for 30 layers.
Here the pass of a whole batch is one recorded CUDA graph (on a CPU it is run as it stands), with the adapters
merged into copies of the weights. Tokens are those that `HostDecoder` chooses, up to rounding.
"""

from __future__ import annotations

from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import rms_norm, silu
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.organisms.training.lora import merged_weight
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.decoding.of_host import OfHost
from reasonmech.shapes import Mask, NextLogits, Tokens


@final
class StaticDecoder(OfHost):
    """Decoder of one Llama with buffers for `rows` rows of `length` tokens.

    With `record` a pass is recorded once, on a GPU, and replayed. `refresh` copies the weights as they stand:
    call it whenever they have changed.
    """

    def __init__(self, host: Host, *, rows: int, length: int, record: bool = True) -> None:
        self._host, self.size, self.length = host, rows, length
        self.record = record and host.device.type == "cuda"
        config: Any = host.model.config
        self.n_layers, self.heads = config.num_hidden_layers, config.num_attention_heads
        self.kv_heads, self.d_head = config.num_key_value_heads, host.d_head
        self.eps = config.rms_norm_eps
        assert self.d_head is not None
        device = host.device
        shape = (self.n_layers, rows, self.kv_heads, length, self.d_head)
        self.keys, self.values = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
        self.token, self.position = (torch.zeros(rows, dtype=torch.long, device=device) for _ in range(2))
        self.column = torch.zeros(1, dtype=torch.long, device=device)
        self.visible = torch.zeros(rows, length, dtype=torch.bool, device=device)
        self.logits = torch.zeros(rows, host.vocab_size, device=device)
        with torch.no_grad():
            model: Any = host.model.model
            turns = model.rotary_emb(self.logits, torch.arange(length, device=device)[None])
            self.cos, self.sin = (turn[0].float() for turn in turns)
            self._weights: list[dict[str, Tensor]] = [_merged(layer) for layer in model.layers]
            self._top: dict[str, Tensor] = _top(model, host)
        self._graph: torch.cuda.CUDAGraph | None = None

    @property
    def host(self) -> Host:
        return self._host

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the weights as they stand now."""
        model: Any = self._host.model.model
        for buffers, layer in zip(self._weights, model.layers, strict=True):
            for name, value in _merged(layer).items():
                buffers[name].copy_(value)
        for name, value in _top(model, self._host).items():
            self._top[name].copy_(value)

    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> StaticState:
        if len(prompts) > self.size or prompts.shape[1] + max_new_tokens > self.length:
            raise DataError(
                f"{len(prompts)} rows of up to {prompts.shape[1]} + {max_new_tokens} tokens",
                allowed=f"at most {self.size} rows of {self.length} tokens",
                do="make the decoder larger",
            )
        return StaticState(self, prompts, mask)

    @torch.no_grad()
    def run(self) -> None:
        """One token further in every row: reads `token`, `position`, `column`, `visible`; writes `logits`."""
        if not self.record:
            self._pass()
            return
        if self._graph is None:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(2):  # outside of the recording, to let libraries set themselves up
                    self._pass()
            torch.cuda.current_stream().wait_stream(side)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._pass()
        self._graph.replay()

    def _pass(self) -> None:
        self.visible.index_fill_(1, self.column, True)
        hidden = torch.nn.functional.embedding(self.token, self._top["embed"])
        cos, sin = self.cos[self.position][:, None], self.sin[self.position][:, None]
        bias = torch.zeros_like(self.visible, dtype=hidden.dtype).masked_fill_(~self.visible, float("-inf"))
        for i, weights in enumerate(self._weights):
            normed = rms_norm(hidden, (hidden.shape[-1],), weights["before_attention"], self.eps)
            hidden = hidden + self._attend(i, normed @ weights["qkv"].T, (cos, sin), bias) @ weights["o"].T
            normed = rms_norm(hidden, (hidden.shape[-1],), weights["before_mlp"], self.eps)
            gate, up = (normed @ weights["gate_up"].T).chunk(2, dim=-1)
            hidden = hidden + (silu(gate) * up) @ weights["down"].T
        hidden = rms_norm(hidden, (hidden.shape[-1],), self._top["norm"], self.eps)
        torch.mm(hidden, self._top["head"].T, out=self.logits)

    def _attend(
        self,
        layer: int,
        qkv: Float[Tensor, "row width"],
        turn: tuple[Tensor, Tensor],
        bias: Float[Tensor, "row pos"],
    ) -> Float[Tensor, "row width"]:
        rows, per_kv = len(qkv), self.heads // self.kv_heads
        q, k, v = qkv.view(rows, -1, self.d_head or 0).split(
            [self.heads, self.kv_heads, self.kv_heads], dim=1
        )
        q, k = _turned(q, turn), _turned(k, turn)
        self.keys[layer].index_copy_(2, self.column, k[:, :, None])
        self.values[layer].index_copy_(2, self.column, v[:, :, None])
        grouped = q.reshape(rows, self.kv_heads, per_kv, -1)
        scores = grouped @ self.keys[layer].transpose(-1, -2) * (self.d_head or 1) ** -0.5
        weights = (scores + bias[:, None, None]).softmax(dim=-1)
        return (weights @ self.values[layer]).reshape(rows, -1)


def _turned(x: Float[Tensor, "row head d"], turn: tuple[Tensor, Tensor]) -> Float[Tensor, "row head d"]:
    first, second = x.chunk(2, dim=-1)
    return x * turn[0] + torch.cat([-second, first], dim=-1) * turn[1]


def _merged(layer: Any) -> dict[str, Tensor]:
    """A block's weights with its adapters, as the static pass reads them."""
    attention, mlp = layer.self_attn, layer.mlp
    q, k, v = (merged_weight(m) for m in (attention.q_proj, attention.k_proj, attention.v_proj))
    return {
        "qkv": torch.cat([q, k, v]),
        "o": merged_weight(attention.o_proj).clone(),
        "gate_up": torch.cat([merged_weight(mlp.gate_proj), merged_weight(mlp.up_proj)]),
        "down": merged_weight(mlp.down_proj).clone(),
        "before_attention": layer.input_layernorm.weight.clone(),
        "before_mlp": layer.post_attention_layernorm.weight.clone(),
    }


def _top(model: Any, host: Host) -> dict[str, Tensor]:
    return {
        "embed": model.embed_tokens.weight.clone(),
        "norm": model.norm.weight.clone(),
        "head": host.unembedding().clone(),
    }


@final
class StaticState:
    """A batch in flight in the buffers of its decoder; rows that were dropped are computed all the same."""

    def __init__(self, decoder: StaticDecoder, prompts: Tokens, mask: Mask) -> None:
        self._decoder, self._prompts, self._mask = decoder, prompts, mask
        self._slots = torch.arange(len(prompts), device=decoder.device)
        self._ends = torch.tensor(decoder.eos_ids)
        self._logits: NextLogits | None = None
        self._width = prompts.shape[1]

    @torch.no_grad()
    def next_logits(self) -> NextLogits:
        if self._logits is None:
            self._logits = self._read_prompts()
        return self._logits

    def _read_prompts(self) -> NextLogits:
        decoder, n = self._decoder, len(self._prompts)
        model: Any = decoder.host.model
        ids, mask = self._prompts.to(decoder.device), self._mask.long().to(decoder.device)
        cache = DynamicCache(config=model.config)
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        for i, layer in enumerate(cache.layers):
            assert isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None
            decoder.keys[i, :n, :, : self._width] = layer.keys
            decoder.values[i, :n, :, : self._width] = layer.values
        decoder.visible.zero_()
        decoder.visible[:n, : self._width] = mask.bool()
        decoder.visible[n:, 0] = True  # rows that nobody asked for see something, or they would be NaN
        decoder.position.zero_()
        decoder.position[:n] = positions[:, -1]
        decoder.column.fill_(self._width - 1)
        return out.logits[:, -1]

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        decoder = self._decoder
        decoder.token[self._slots] = tokens.to(decoder.device)
        decoder.position += 1
        decoder.column += 1
        decoder.run()
        self._logits = decoder.logits[self._slots]

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._slots = self._slots[rows.to(self._decoder.device)]
        self._logits = None if self._logits is None else self._decoder.logits[self._slots]

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return torch.isin(tokens, self._ends)

    def steered(self) -> Bool[Tensor, " batch"]:
        return torch.zeros(len(self._slots), dtype=torch.bool)

    def close(self) -> None:
        """Nothing was done to the model."""


@final
class StaticWriter:
    """Writes a training's rollouts by one `StaticDecoder`: made at the first call, refreshed at every later
    one.

    Args:
        rows, length: of the decoder; at least the rollouts of an iteration, and the longest prompt with its
            answer.
    """

    def __init__(self, rows: int, length: int) -> None:
        self._rows, self._length = rows, length
        self._decoder: StaticDecoder | None = None

    def __call__(self, host: Host) -> StaticDecoder:
        if self._decoder is None or self._decoder.host is not host:
            self._decoder = StaticDecoder(host, rows=self._rows, length=self._length)
        else:
            self._decoder.refresh()
        return self._decoder
