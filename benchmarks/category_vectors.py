"""Peak memory and time of training category vectors: every key and value in memory, beside a store."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable

import torch
from _models import ONSETS, chosen, make_host, make_texts
from _table import forget_peak, memory, write

from reasonmech.hybrid import OnDisk, VectorConfig, train_vectors
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.tasks.chain import OneWordKinds

CASES = {"tiny": (64, 256, 1024), "smollm2": (32, 64, 128)}  # texts
LENGTH, PROMPT, STEPS = 128, 96, 2
MEMORY, STORE = "every cache in memory", "a store (OnDisk)"


def written(size: str, rows: int) -> Iterable[Rollout]:
    """Texts as rollouts of which the last tokens were chosen by a model."""
    ids, _ = make_texts(make_host(size), rows, LENGTH)
    n = LENGTH - PROMPT
    for i, row in enumerate(ids.tolist()):
        problem = Problem(id=f"row/{i}", prompt="", answer="")
        yield Rollout(
            problem=problem,
            prompt_ids=tuple(row[:PROMPT]),
            ids=tuple(row[PROMPT:]),
            by_environment=(False,) * n,
            steered=(False,) * n,
            stop="length",
            text="",
            sample=0,
        )


def once(size: str, rows: int, side: str) -> None:
    """Train in this process; print what it took beyond the model and the texts."""
    host, texts = make_host(size), list(written(size, rows))
    kinds = OneWordKinds({"a": ONSETS[size]}, host.tokenizer)
    config = VectorConfig(steps=STEPS, batch_rollouts=8, max_rows=32, min_count=1, held_out=0.1)
    before = forget_peak()
    with tempfile.TemporaryDirectory() as directory:
        site = f"resid_post.{host.n_layers // 2}"
        start = time.process_time()
        at = site if side == MEMORY else OnDisk(site, f"{directory}/vectors")
        trained = train_vectors(host, at, texts, kinds=kinds, config=config, progress=False)
        took = time.process_time() - start
    total = float(trained.vectors.table.abs().sum())
    print(memory("VmHWM") - before, took, total, sep="\t")


def compare(size: str) -> None:
    """Both sides at each number of texts, each in a process of its own, whose peak is its own."""
    rows: list[dict[str, object]] = []
    for n in CASES[size]:
        sums, seconds = [], []
        for side in (MEMORY, STORE):
            command = [sys.executable, __file__, size, str(n), side]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peak, took, total = map(float, out.strip().splitlines()[-1].split("\t"))
            sums.append(total)
            seconds.append(took)
            row = {"side": f"{n} texts, {side}", "seconds": took, "low": took, "high": took}
            rows.append(row | {"ratio": took / seconds[0], "peak_mb": peak})
        assert sums[0] > 0 and abs(sums[0] - sums[1]) <= 1e-3 * sums[0], sums
    write(
        f"category_vectors_{size}",
        f"Category vectors, {STEPS} steps on texts of {LENGTH} tokens, {size} host",
        rows,
        notes=[
            "Peak memory is what a process of its own took beyond the model and the texts; seconds are of "
            "one run, ratios to memory with as many texts. Reading all texts once is most of them.",
        ],
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) == 4:
        once(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        for model_size in chosen([*CASES]):
            compare(model_size)
