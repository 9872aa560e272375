"""A cache with room: the same bits as one that is moved at every token, and room for the rest."""

from __future__ import annotations

import torch
from transformers import DynamicCache

from reasonmech.runtime.decoding.growing_cache import GrowingLayer, growing_cache
from tests.layouts import layout_host


def _pass(model, cache, ids, seen):
    with torch.no_grad():
        attention, new = torch.ones(len(ids), seen + ids.shape[1], dtype=torch.long), ids.shape[1]
        positions = torch.arange(seen, seen + new).expand(len(ids), -1)
        out = model(
            input_ids=ids,
            attention_mask=attention,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
    return out.logits


def test_logits_are_those_of_a_cache_that_is_moved_at_every_token_bit_by_bit() -> None:
    """Through growth beyond its room, a crop, and rows that are dropped and reordered."""
    model = layout_host("qwen2").model
    ids = torch.randint(0, 50, (5, 150), generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([4, 0, 2])
    logits = []
    for cache in (DynamicCache(config=model.config), growing_cache(model.config)):
        steps = [_pass(model, cache, ids[:, :7], 0)]
        for i in range(7, 80):
            steps.append(_pass(model, cache, ids[:, i : i + 1], i))
        cache.crop(-1)
        steps.append(_pass(model, cache, ids[:, 90:91], 79))
        cache.batch_select_indices(rows)
        for i in range(80, 150):
            steps.append(_pass(model, cache, ids[rows, i : i + 1], i))
        logits.append(steps)
    assert all(torch.equal(a, b) for a, b in zip(*logits, strict=True))
    layer = cache.layers[0]
    assert isinstance(layer, GrowingLayer) and layer.keys is not None and layer.keys.shape[-2] == 150


def test_the_past_is_not_moved_at_every_token() -> None:
    layer = GrowingLayer()
    step = torch.zeros(2, 1, 1, 4)
    places = [layer.update(step + i, step - i)[0].data_ptr() for i in range(60)]
    assert len(set(places)) == 1
    assert layer.keys is not None and torch.equal(layer.keys[0, 0, :, 0], torch.arange(60.0))
