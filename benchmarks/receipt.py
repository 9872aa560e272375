"""What the receipt of a steered run costs: none, of a quarter of the rows (16 at most), and of all."""

from __future__ import annotations

import logging

import torch
from _models import chosen, make_host, make_texts, rounds
from _table import Target, measure, report, timed

import reasonmech as rm
from reasonmech.runtime.receipt.recorder import ReceiptMode

TEXTS, PROMPT, NEW = 8, 32, 24
NONE, SAMPLE, ALL = "receipt=none", "receipt=sample", "receipt=full"
MODES: dict[str, ReceiptMode] = {NONE: "none", SAMPLE: "sample", ALL: "full"}


def compare(size: str) -> None:
    """One host."""
    host = make_host(size)
    _, texts = make_texts(host, TEXTS, PROMPT)
    vector = 4 * torch.randn(host.d_model, generator=torch.Generator().manual_seed(0))
    plan = rm.steer(rm.Whole(f"resid_post.{host.n_layers // 2}"), vector)
    decode = rm.Decode(max_new_tokens=NEW)

    def write(mode: ReceiptMode) -> rm.Rollouts:
        return rm.generate(host, texts, plan, decode=decode, receipt=mode, progress=False)

    runs = {name: write(mode) for name, mode in MODES.items()}
    assert len({tuple(rollout.ids for rollout in run) for run in runs.values()}) == 1
    receipts = [run.receipt for run in runs.values()]
    assert all(receipt is not None for receipt in receipts)
    times = measure(
        {name: timed(lambda mode=mode: write(mode)) for name, mode in MODES.items()}, runs=rounds(size)
    )
    report(
        f"receipt_{size}",
        f"Receipt. {TEXTS} texts, {NEW} new tokens after {PROMPT}, {size} host",
        times,
        floor=NONE,
        targets=[Target(SAMPLE, NONE, at_most=1.35, because="rows are replayed whole, steered and clean")],
    )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    for model_size in chosen(["tiny", "smollm2"]):
        compare(model_size)
