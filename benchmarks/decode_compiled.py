"""P2. What torch.compile gives: `Decode(compile=True)` beside a bare loop over a cache of fixed size, with
one resident hook, compiled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from _table import Target, measure, report, timed
from decode import FLOOR, LAYER, NEW, OURS, PROMPT, Case, make_case
from torch import Tensor
from torch._inductor import config as inductor
from transformers import StaticCache

import reasonmech as rm
from reasonmech.runtime.decoding import compiled

CASES = {("tiny", 1): 11, ("tiny", 32): 9}
EAGER, COMPILED = "Hugging Face + hook, fixed cache, own loop", "the same, compiled (steady state)"
WITH_RECEIPT = "the same, with the receipt of a run"
REPLAYED = "a receipt replays a quarter of the rows, edited and clean, eagerly"
OURS_COMPILED = "reasonmech, steered, Decode(compile=True) (steady state)"


def decoding(
    case: Case, step: Callable[[Tensor, Tensor], Tensor], cache: StaticCache
) -> Callable[[], Tensor]:
    """A greedy loop: the prompt eagerly, then `step` (the tokens, their position) for each new token."""

    def loop() -> Tensor:
        cache.reset()
        times = [
            case.host.model(
                case.ids,
                position_ids=torch.arange(PROMPT)[None],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            .logits[:, -1]
            .argmax(-1)
        ]
        for position in range(PROMPT, PROMPT + NEW - 1):
            times.append(step(times[-1][:, None], torch.tensor([[position]])))
        return torch.stack(times, dim=1)

    return loop


def is_hook_ignored(
    case: Case, vector: Tensor, eager: Callable[[], Tensor], fast: Callable[[], Tensor]
) -> bool:
    """Whether a hook that is added after compiling, to a block that had none, is left out without a word."""
    other = case.host.model.get_submodule(f"model.layers.{LAYER - 1}")
    before = fast()
    later = other.register_forward_hook(lambda module, args, x: x - 2 * vector if x.shape[1] == 1 else x)
    try:
        assert not torch.equal(eager(), before), "the hook changes nothing"
        return torch.equal(fast(), before)
    finally:
        later.remove()


def compare(size: str, rows: int, runs: int, *, backend: str = "inductor") -> None:
    """One host at one batch size; compiling is timed once, by wall clock, and is in no ratio."""
    case = make_case(size, rows)
    vector = 4 * torch.randn(case.host.d_model, generator=torch.Generator().manual_seed(0))
    steered = rm.steer(rm.Whole(f"resid_post.{LAYER}"), vector)
    resident, cache = vector.clone(), StaticCache(config=case.host.model.config, max_cache_len=PROMPT + NEW)

    def step(token: Tensor, position: Tensor) -> Tensor:
        out = case.host.model(
            token, position_ids=position, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        return out.logits[:, -1].argmax(-1)

    eager, fast = (
        decoding(case, one, cache) for one in (step, torch.compile(step, dynamic=False, backend=backend))
    )
    block = case.host.model.get_submodule(f"model.layers.{LAYER}")

    def with_resident(loop: Callable[[], Tensor]) -> Tensor:
        handle = block.register_forward_hook(hook)
        try:
            return loop()
        finally:
            handle.remove()

    def hook(module: object, args: object, x: Tensor) -> Tensor:
        return x + resident

    sides = {
        FLOOR: case.plain,
        OURS: lambda: case.written(steered),
        OURS_COMPILED: lambda: case.written(steered, compile=True),
        WITH_RECEIPT: lambda: case.written(steered, compile=True, receipt="sample"),
        EAGER: lambda: with_resident(eager),
        COMPILED: lambda: with_resident(fast),
    }
    with torch.no_grad(), patch.object(compiled, "BACKEND", backend):
        start = time.perf_counter()
        first = sides[COMPILED]()
        seconds = time.perf_counter() - start
        expected = case.hooked(hook)
        assert not torch.equal(expected, sides[FLOOR]())
        start = time.perf_counter()
        ours = sides[OURS_COMPILED]()
        own_seconds = time.perf_counter() - start
        both = {EAGER: sides[EAGER](), COMPILED: first, OURS: sides[OURS](), OURS_COMPILED: ours}
        for name, written in both.items():
            agreement = float((written == expected).float().mean())
            assert agreement > 0.95, f"{name} agrees with the reference on {agreement:.0%} of the tokens"
        ignored = with_resident(lambda: torch.tensor(is_hook_ignored(case, vector, eager, fast)))
        times = measure({name: timed(side) for name, side in sides.items()}, runs=runs)
    report(
        f"decode_compiled_{size}_{rows}",
        f"P2. {NEW} new tokens after {PROMPT}, {size} host, batch {rows}, with torch.compile",
        times,
        floor=FLOOR,
        targets=[
            Target(COMPILED, OURS_COMPILED, at_least=0.85),
            Target(
                FLOOR,
                WITH_RECEIPT,
                at_least=2.5 if rows == 1 else 1.5,
                limit=OURS_COMPILED,
                because=REPLAYED,
            ),
        ],
        notes=[
            f"Compiling this one batch shape took {seconds:.0f} s, ours {own_seconds:.0f} s (wall time, "
            "first loop included, nothing cached).",
            "A hook added after compiling to a block that had none: "
            f"{'ignored in silence' if ignored else 'seen'}.",
        ],
    )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    inductor.force_disable_caches = True
    for (model_size, n_rows), n_runs in CASES.items():
        compare(model_size, n_rows, n_runs)
