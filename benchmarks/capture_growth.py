"""P1. What a capture into a store, and its shuffled reading, take in time and memory as tokens grow to 10
million."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from _table import forget_peak, memory, report, timed

import reasonmech as rm
from reasonmech.organisms.training.corpus import draw_documents

SITE = "resid_post.2"
PAGE = 512  # documents that are written at once
WORDS = 66  # of a document, on average
LIMIT = 2000  # MB


class Corpus(Sequence[str]):
    """Documents of the corpus that the chain base was trained on; one page of them is in memory."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.held: tuple[int, list[str]] = (-1, [])

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride] - no slices needed
        page, line = divmod(index, PAGE)
        if page != self.held[0]:
            self.held = (page, [*draw_documents(page, PAGE)])
        return self.held[1][line]


def grow(tokens: int) -> None:
    """Capture about so many tokens of tiny-when's base in this process, and read them shuffled; print what it
    took."""
    torch.set_num_threads(1)
    host, texts, size = rm.load_pair("tiny-when").base, Corpus(tokens // WORDS), 4096
    rm.capture(host, [texts[0]], [SITE], progress=False)  # what loads late is loaded
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "s"
        before = forget_peak()
        seconds = timed(lambda: rm.capture(host, texts, [SITE], out=out, progress=False))()
        peak = memory("VmHWM")
        acts = rm.Activations.load(out, host=host)
        forget_peak()
        sizes: list[int] = []
        reading = timed(lambda: sizes.extend(map(len, acts.stream(SITE, batch_size=size, seed=0))))()
        assert sum(sizes) == acts.n_tokens, "a token was lost or doubled"
        stored = sum(path.stat().st_size for path in out.rglob("*.*"))
        readings = {"tokens": acts.n_tokens, "before": before, "peak": peak, "reading_peak": memory("VmHWM")}
        print(json.dumps(readings | {"seconds": seconds, "reading": reading, "stored": stored}))


def growth(largest: int = 10_100_000) -> None:
    """1x, 4x and 16x tokens, each in a process of its own."""
    readings: dict[str, list[float]] = {}
    runs, notes = [], []
    for factor in (1, 4, 16):
        command = [sys.executable, "-W", "ignore", __file__, str(largest * factor // 16)]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        took = json.loads(out.stdout.splitlines()[-1])
        runs.append(took)
        readings[f"{factor}x: {took['tokens']} tokens captured"] = [took["seconds"]] * 2
        readings[f"{factor}x: read once in random order"] = [took["reading"]] * 2
        notes.append(
            f"{took['tokens']} tokens, {took['stored'] / 1e6:.0f} MB on disk: {took['before']:.0f} MB "
            "resident before"
            f" the capture, libraries and model included; at most {took['peak']:.0f} MB during it, at most"
            f" {took['reading_peak']:.0f} MB during one epoch of shuffled reading (VmHWM)."
        )
    first, last = runs[1], runs[2]  # from 4x on every shard is full: below, the first one still grows
    more = (last["tokens"] - first["tokens"]) / 1e6
    slope = (last["peak"] - first["peak"]) / more
    highest = max(last["peak"], last["reading_peak"])
    notes += [
        f"Slope of the peak from 4x to 16x: {slope:.1f} MB a million tokens of the capture, "
        f"{(last['reading_peak'] - first['reading_peak']) / more:.1f} of the reading.",
        f"Target: 10 M tokens under 2 GB resident. Measured: {highest:.0f} MB for "
        f"{last['tokens'] / 1e6:.1f} M tokens"
        f" ({'met' if highest < LIMIT else '**missed**'}).",
    ]
    title = "P1. Growth with tokens: the corpus of tiny-when, its base, one site into a store"
    report("capture_growth", title, readings, floor=next(iter(readings)), notes=notes)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    if len(sys.argv) > 1:
        grow(int(sys.argv[1]))
    else:
        growth()
