"""What every benchmark shares: rounds in shuffled order, a markdown table, a JSON file.

A round runs every side once, in an order of its own, and a ratio is taken within a round: what slows the
machine down slows both of its numbers down.
"""

from __future__ import annotations

import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
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


def measure(
    sides: Mapping[str, Callable[[], float]], *, runs: int = 5, seed: int = 0
) -> dict[str, list[float]]:
    """Seconds of every side, `runs` times each after one warm-up, round by round in shuffled order."""
    order, shuffled = list(sides), random.Random(seed)
    for side in order:
        sides[side]()
    times: dict[str, list[float]] = {name: [] for name in order}
    for _ in range(runs):
        for name in shuffled.sample(order, len(order)):
            times[name].append(sides[name]())
    return times


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
    rows = []
    for side, seconds in times.items():
        low, middle, high = statistics.quantiles(seconds, n=4)
        ratio = _ratio(times, side, floor)
        rows.append({"side": side, "seconds": middle, "low": low, "high": high, "ratio": ratio})
    judged = []
    for target in targets:
        ratio = _ratio(times, target.of, target.to)
        met, why = target.met(ratio), target.explain(times)
        judged.append(asdict(target) | {"target": str(target), "ratio": ratio, "met": met, "because": why})
    RESULTS.mkdir(exist_ok=True)
    written = {
        "name": name,
        "title": title,
        "machine": f"{platform.platform()}, one thread",
        "versions": {package: version(package) for package in PACKAGES},
        "date": date.today().isoformat(),
        "command": f"python benchmarks/{Path(sys.argv[0]).name}",
        "rows": rows,
        "targets": judged,
        "notes": list(notes),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(written, indent=1) + "\n")
    print(markdown(written))


def _ratio(times: Mapping[str, list[float]], of: str, to: str) -> float:
    """Median over the rounds of seconds(of) / seconds(to), or of seconds(of)."""
    if not to:
        return statistics.median(times[of])
    return statistics.median(a / b for a, b in zip(times[of], times[to], strict=True))


def markdown(result: Mapping[str, object]) -> str:
    """One result as a page section."""
    lines = [f"## {result['title']}", "", "| | seconds | quartiles | ratio |", "|---|---|---|---|"]
    rows, targets, notes = result["rows"], result.get("targets", []), result.get("notes", [])
    assert isinstance(rows, list) and isinstance(targets, list) and isinstance(notes, list)
    lines += [
        f"| {r['side']} | {r['seconds']:.3f} | {r['low']:.3f} - {r['high']:.3f} | {r['ratio']:.2f} |"
        for r in rows
    ]
    if targets:
        lines += ["", "| target | measured | |", "|---|---|---|"]
        lines += [f"| {t['target']} | {t['ratio']:.2f} | {verdict(t)} |" for t in targets]
    return "\n".join([*lines, *(["", *(f"- {note}" for note in notes)] if notes else []), ""])


def verdict(target: Mapping[str, object]) -> str:
    """ "met", or "missed" and why."""
    if target["met"]:
        return "met"
    return f"**missed**: {target['because']}" if target["because"] else "**missed**"
