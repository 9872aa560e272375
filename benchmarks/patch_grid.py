"""P4. A patch grid, layers x positions: beside TransformerLens' loop and a batched form that recomputes
everything."""

from __future__ import annotations

import contextlib
import io

import torch
from _models import chosen, make_host, make_texts, rounds, run_from
from _table import Target, measure, report, timed
from torch import Tensor
from transformer_lens.patching import get_act_patch_resid_pre  # noqa: TID251 - the peer

import reasonmech as rm
from reasonmech.metrics import logit_diff

LENGTHS = {"tiny": 32, "mid": 16, "smollm2": 8}
ROWS, GOOD, BAD = 64, 11, 12
OURS, LOOP = "rm.patch_grid", "TransformerLens, one cell after the other"
BATCHED = "batched by hand, whole passes"
PRODUCTS = (
    "four fifths of rm.patch_grid are matrix products (torch.profiler, mid host), and a batch runs them 3 "
    "times as fast"
    " a row as one text alone, no more"
)
BOOKS = "at 64 dimensions a row of a whole pass is 0.3 ms: positions, masks and the table weigh more"
SUFFIX = "blocks from each site on, nothing else"


def compare(size: str) -> None:
    """One host: every layer's input at every position, one pair of texts."""
    host = make_host(size)
    (clean, first), (corrupt, second) = (make_texts(host, 1, LENGTHS[size], seed=seed) for seed in (1, 2))
    layers, length = range(host.n_layers), LENGTHS[size]
    sites = [f"resid_pre.{layer}" for layer in layers]
    metric = logit_diff(host, good=GOOD, bad=BAD)
    blocks = [host.model.get_submodule(f"model.layers.{layer}") for layer in layers]

    def value(logits: Tensor) -> Tensor:
        return logits[:, -1, GOOD] - logits[:, -1, BAD]

    def ours() -> Tensor:
        grid = rm.patch_grid(host, rm.TextPairs(first, second), sites, metric=metric, batch_rows=ROWS)
        table = grid.table.astype({"position": int}).sort_values(["layer", "position"])
        return torch.tensor(table["value"].to_numpy(), dtype=torch.float32).reshape(host.n_layers, length)

    def loop() -> Tensor:
        cache = host.lens.run_with_cache(clean, names_filter=lambda name: name.endswith("hook_resid_pre"))[1]
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that cannot be switched off
            return get_act_patch_resid_pre(host.lens, corrupt, cache, lambda logits: value(logits)[0])

    def batched() -> Tensor:
        hidden = host.model(clean, use_cache=False, output_hidden_states=True).hidden_states
        cells = [(layer, position) for layer in layers for position in range(length)]
        times = []
        for start in range(0, len(cells), ROWS):
            batch, handles = cells[start : start + ROWS], []
            for layer in {layer for layer, _ in batch}:

                def put(
                    module: object, args: tuple[Tensor, ...], layer: int = layer, batch: list = batch
                ) -> tuple:
                    x = args[0].clone()
                    for row, (at, position) in enumerate(batch):
                        if at == layer:
                            x[row, position] = hidden[layer][0, position]
                    return (x, *args[1:])

                handles.append(blocks[layer].register_forward_pre_hook(put))
            times.append(
                value(host.model(corrupt.expand(len(batch), -1), use_cache=False, logits_to_keep=1).logits)
            )
            for handle in handles:
                handle.remove()
        return torch.cat(times).reshape(host.n_layers, length)

    def suffixes() -> None:
        for layer in layers:
            run_from(host, layer, torch.randn(length, length, host.d_model))

    sides = {OURS: ours, BATCHED: batched, LOOP: loop}
    with torch.no_grad():
        expected = batched()
        assert float(expected.std()) > 0
        largest = host.model(corrupt).logits.abs().max()  # which is rounded: a difference of two may be small
        for side in (OURS, LOOP):
            assert (sides[side]() - expected).abs().max() <= 2e-5 * largest, side
        times = measure(
            {name: timed(side) for name, side in {**sides, SUFFIX: suffixes}.items()}, runs=rounds(size)
        )
    report(
        f"patch_grid_{size}",
        f"P4. {host.n_layers} layers x {length} positions of one pair of texts, {size} host",
        times,
        floor=OURS,
        targets=[
            Target(LOOP, OURS, at_least=15, limit=SUFFIX, because=PRODUCTS),
            Target(BATCHED, OURS, at_least=1.2, limit=SUFFIX, because=BOOKS),
        ],
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for model_size in chosen([*LENGTHS]):
        compare(model_size)
