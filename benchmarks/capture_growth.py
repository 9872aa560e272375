"""P1. What a capture into a store takes in time and memory as tokens grow."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

from _models import SHAPES, as_rollouts, make_host, random_ids
from _table import report, timed

import reasonmech as rm


def memory(kind: str) -> float:
    """MB of this process: resident now ("VmRSS") or at most ("VmHWM"; getrusage would report the parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


def grow(tokens: int) -> None:
    """Capture so many tokens in this process, and print its memory before, at most meanwhile, and the CPU seconds."""
    host = make_host("tiny")
    rollouts = as_rollouts(random_ids(tokens // 256, 256))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of importing
    before = memory("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        seconds = timed(lambda: rm.capture(host, rollouts, ["resid_post.2"], out=Path(folder) / "s", progress=False))()
    print(before, memory("VmHWM"), seconds)


def growth(smallest: int = 2**16) -> None:
    """Seconds and peak memory over 1x, 4x and 16x tokens, each in a process of its own."""
    found: dict[str, list[float]] = {}
    notes, peaks, texts, width = [], {}, {}, SHAPES["tiny"]["d_model"]
    for factor in (1, 4, 16):
        tokens = factor * smallest
        command = [sys.executable, "-W", "ignore", __file__, str(tokens)]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        texts[tokens], peaks[tokens], seconds = map(float, out.stdout.split()[-3:])
        found[f"{factor}x: {tokens} tokens"] = [seconds] * 2
        notes.append(
            f"{tokens} tokens: {texts[tokens]:.0f} MB before the capture, model and texts included; at most"
            f" {peaks[tokens]:.0f} MB during it (VmHWM); the store is {tokens * width * 4 / 1e6:.0f} MB."
        )
    first, last = 4 * smallest, 16 * smallest  # from 4x on every shard is full: below, the first one still grows
    of_texts = (texts[last] - texts[first]) / (last - first)
    of_all = (peaks[last] - peaks[first]) / (last - first)
    notes += [
        f"Slope of the peak from 4x to 16x: {of_all * 1e6:.0f} MB a million tokens, {of_texts * 1e6:.0f} of them the"
        " texts themselves (Python integers), which the caller holds before the capture starts; the rest is the index,"
        " one row a token.",
        f"Extrapolated along that line, not measured: {(peaks[last] + of_all * (1e7 - last)) / 1000:.2f} GB for 10 M"
        " tokens (target: under 2 GB).",
    ]
    report("capture_growth", "P1. Growth with tokens, tiny host", found, floor=next(iter(found)), notes=notes)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    if len(sys.argv) > 1:
        grow(int(sys.argv[1]))
    else:
        growth()
