"""GrowingLayer: keys and values with room behind them, so that a new token moves no old one."""

from __future__ import annotations

from typing import Final, final

from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

_ROOM: Final = 64  # tokens; a text moves once in so many, and this much is held in vain at most

Past = Float[Tensor, "batch head pos d_head"]


@final
class GrowingLayer(DynamicLayer):
    """A `DynamicLayer` that copies the past once in 64 tokens, not at every one.

    `keys` and `values` are, as there, the whole past: views of the front of larger tensors. What is written
    behind them is seen by nobody else.
    """

    def __init__(self) -> None:
        super().__init__()
        self._key_room: Past | None = None
        self._value_room: Past | None = None

    def update(
        self, key_states: Past, value_states: Past, *args: object, **kwargs: object
    ) -> tuple[Past, Past]:
        """Append keys and values; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self._key_room, self.keys = _appended(self._key_room, self.keys, key_states)
        self._value_room, self.values = _appended(self._value_room, self.values, value_states)
        return self.keys, self.values

    def batch_select_indices(self, indices: Int[Tensor, " row"]) -> None:
        """Keep these rows, in this order."""
        if self.keys is not None and self.values is not None and self.get_seq_length() > 0:
            self._key_room, self.keys = _selected(self.keys, indices)
            self._value_room, self.values = _selected(self.values, indices)


def growing_cache(config: PretrainedConfig) -> DynamicCache:
    """An empty cache of a model; its layers that hold the whole past have room to grow."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _appended(room: Past | None, past: Past | None, new: Past) -> tuple[Past, Past]:
    """Where the past stands, which is moved to a larger place where this one is full, and the longer past."""
    before = 0 if past is None or not past.numel() else past.shape[-2]
    after = before + new.shape[-2]
    if room is None or past is None or not _stands_in(past, room) or after > room.shape[-2]:
        room = new.new_empty(*new.shape[:-2], after + _ROOM, new.shape[-1])
        if past is not None and before:
            room[..., :before, :] = past
    room[..., before:after, :] = new
    return room, room[..., :after, :]


def _stands_in(past: Past, room: Past) -> bool:
    """Whether the past is the front of this room, and was not replaced by another tensor."""
    return past.data_ptr() == room.data_ptr() and past.stride() == room.stride()


def _selected(past: Past, rows: Int[Tensor, " row"]) -> tuple[Past, Past]:
    """Some rows of the past, in a place with room."""
    batch, heads, length, width = len(rows), *past.shape[1:]
    room = past.new_empty(batch, heads, length + _ROOM, width)
    room[..., :length, :] = past[rows]
    return room, room[..., :length, :]
