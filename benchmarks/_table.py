"""What every benchmark shares: rounds in shuffled order, a markdown table, a JSON file.

A round runs every side once, in an order of its own, and a ratio is taken within a round: what slows the
machine down slows both of its numbers down.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "transformer-lens", "sae-lens")


@dataclass(frozen=True)
class Target:
    """What a ratio of two sides has to be.

    Attributes:
        of, to: the ratio is seconds(of) / seconds(to); without `to`, it is seconds(of).
        at_least, at_most: the bound; one of the two.
        because: why it is out of reach, where it is missed.
        limit: a side that does only what `to` (or an `of` that has to be fast) cannot do without. Where the
            target is missed, what that side itself would get in the same rounds is printed beside it.
    """

    of: str
    to: str = ""
    at_least: float | None = None
    at_most: float | None = None
    because: str = ""
    limit: str = ""

    def met(self, ratio: float) -> bool:
        return (self.at_least is None or ratio >= self.at_least) and (
            self.at_most is None or ratio <= self.at_most
        )

    def __str__(self) -> str:
        bound = f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"
        return f"{self.of} / {self.to} {bound}" if self.to else f"{self.of} {bound} s"

    def explain(self, times: Mapping[str, list[float]]) -> str:
        """Why it is missed: the reason given, after what the limiting side gets in place of ours."""
        if not self.limit:
            return self.because
        of, to = (self.of, self.limit) if self.at_least is not None else (self.limit, self.to)
        measured = f"{self.limit} by itself gets {_ratio(times, of, to):.2f}"
        return f"{measured}; {self.because}" if self.because else measured


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """CPU seconds of this process (all sides compute on one thread): what other processes do is not
    counted."""

    def once() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    return once


class Measured(dict[str, list[float]]):
    """Side -> seconds of each run.

    Attributes:
        peaks: side -> MB that were resident at most in its warm-up, beyond what was before it.
        load: processes that wanted to compute, on average over the last minute, at the end.
    """

    def __init__(self, sides: Sequence[str]) -> None:
        super().__init__({name: [] for name in sides})
        self.peaks, self.load = dict.fromkeys(sides, 0.0), 0.0


def memory(kind: str) -> float:
    """MB of this process: resident now ("VmRSS") or at most ("VmHWM"; getrusage would report the
    parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


def forget_peak() -> float:
    """Start a new peak, after what earlier work has left is given back; what is resident now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def measure(sides: Mapping[str, Callable[[], float]], *, runs: int = 5, seed: int = 0) -> Measured:
    """Seconds of every side, `runs` times each after one warm-up, round by round in shuffled order."""
    order, shuffled, measured = list(sides), random.Random(seed), Measured([*sides])
    for side in order:
        before = forget_peak()
        sides[side]()
        measured.peaks[side] = memory("VmHWM") - before
    for _ in range(runs):
        for name in shuffled.sample(order, len(order)):
            measured[name].append(sides[name]())
    measured.load = os.getloadavg()[0]
    return measured


def report(
    name: str,
    title: str,
    times: Mapping[str, list[float]],
    *,
    floor: str,
    targets: Sequence[Target] = (),
    notes: Sequence[str] = (),
) -> None:
    """Print a table of medians, quartiles and ratios to `floor`, and write it to results/<name>.json."""
    rows, judged = tabulated(times, floor, targets)
    loaded = [f"Load while it ran: {times.load:.1f}."] if isinstance(times, Measured) else []
    write(name, title, rows, targets=judged, notes=[*notes, *loaded])


def tabulated(
    times: Mapping[str, list[float]], floor: str, targets: Sequence[Target]
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Rows of medians, quartiles and ratios to `floor`; targets with what was measured."""
    rows: list[dict[str, object]] = []
    for side, seconds in times.items():
        low, middle, high = statistics.quantiles(seconds, n=4)
        ratio = _ratio(times, side, floor)
        row = {"side": side, "seconds": middle, "low": low, "high": high, "ratio": ratio}
        rows.append(row | ({"peak_mb": times.peaks[side]} if isinstance(times, Measured) else {}))
    judged = []
    for target in targets:
        ratio = _ratio(times, target.of, target.to)
        met, why = target.met(ratio), target.explain(times)
        judged.append(asdict(target) | {"target": str(target), "ratio": ratio, "met": met, "because": why})
    return rows, judged


def write(
    name: str,
    title: str,
    rows: Sequence[Mapping[str, object]],
    *,
    targets: Sequence[Mapping[str, object]] = (),
    notes: Sequence[str] = (),
) -> None:
    """Print a table, and write it to results/<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    written = {
        "name": name,
        "title": title,
        "machine": f"{platform.platform()}, one thread",
        "versions": versions(),
        "date": date.today().isoformat(),
        "command": " ".join([f"python benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "rows": [*rows],
        "targets": [*targets],
        "notes": list(notes),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(written, indent=1) + "\n")
    print(markdown(written), flush=True)


def versions() -> dict[str, str]:
    """Of the packages that are here; a machine with a card may lack the peers."""
    there = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            there[package] = version(package)
    return there


def _ratio(times: Mapping[str, list[float]], of: str, to: str) -> float:
    """Median over the rounds of seconds(of) / seconds(to), or of seconds(of)."""
    if not to:
        return statistics.median(times[of])
    return statistics.median(a / b for a, b in zip(times[of], times[to], strict=True))


def markdown(result: Mapping[str, object]) -> str:
    """One result as a page section."""
    rows, targets, notes = result["rows"], result.get("targets", []), result.get("notes", [])
    assert isinstance(rows, list) and isinstance(targets, list) and isinstance(notes, list)
    peaks = all("peak_mb" in row for row in rows)
    head = ["", "seconds", "quartiles", "ratio", *(["peak MB"] if peaks else [])]
    lines = [f"## {result['title']}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        quartiles = f"{row['low']:.3f} - {row['high']:.3f}"
        cells = [row["side"], f"{row['seconds']:.3f}", quartiles, f"{row['ratio']:.2f}"]
        cells += [f"{row['peak_mb']:.0f}"] if peaks else []
        lines.append(f"| {' | '.join(cells)} |")
    if targets:
        lines += ["", "| target | measured | |", "|---|---|---|"]
        lines += [f"| {t['target']} | {t['ratio']:.2f} | {verdict(t)} |" for t in targets]
    return "\n".join([*lines, *(["", *(f"- {note}" for note in notes)] if notes else []), ""])


def verdict(target: Mapping[str, object]) -> str:
    """ "met", or "missed" and why."""
    if target["met"]:
        return "met"
    return f"**missed**: {target['because']}" if target["because"] else "**missed**"
