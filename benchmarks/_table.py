"""What every benchmark shares: repeated measurement in shuffled order, a markdown table, a JSON file."""

from __future__ import annotations

import json
import platform
import random
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def measure(sides: Mapping[str, Callable[[], float]], *, runs: int = 5, seed: int = 0) -> dict[str, list[float]]:
    """Seconds of every side, `runs` times each after one warm-up, in shuffled order."""
    for side in sides.values():
        side()
    order = [name for name in sides for _ in range(runs)]
    random.Random(seed).shuffle(order)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for name in order:
        found[name].append(sides[name]())
    return found


def report(name: str, title: str, found: Mapping[str, list[float]], *, floor: str) -> None:
    """Print a table of medians, quartiles and ratios to `floor`, and write it to results/<name>.json."""
    base = statistics.median(found[floor])
    rows = []
    for side, seconds in found.items():
        low, middle, high = statistics.quantiles(seconds, n=4)
        rows.append({"side": side, "seconds": middle, "low": low, "high": high, "ratio": middle / base})
    RESULTS.mkdir(exist_ok=True)
    written = {"name": name, "title": title, "machine": platform.platform(), "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(written, indent=1) + "\n")
    print(markdown(written))


def markdown(result: Mapping[str, object]) -> str:
    lines = [f"## {result['title']}", "", "| | seconds | quartiles | ratio |", "|---|---|---|---|"]
    rows = result["rows"]
    assert isinstance(rows, list)
    lines += [
        f"| {r['side']} | {r['seconds']:.3f} | {r['low']:.3f} - {r['high']:.3f} | {r['ratio']:.2f} |" for r in rows
    ]
    return "\n".join([*lines, ""])
