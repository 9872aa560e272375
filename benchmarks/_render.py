"""Join all results into RESULTS.md: every target first, then the tables they are read from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from _table import RESULTS, markdown, verdict

HEAD = """# Benchmarks

`make bench` runs them one after the other and writes this page; each also runs alone, as the line above its
table says, and most take the name of a host: tiny, mid, smollm2 (SmolLM2-135M in float32, `make smollm2`).
Seconds are CPU seconds of one thread (of start-up: wall time), medians and quartiles over rounds in which
every side runs once, in shuffled order. A ratio is taken within each round, so that what slows the machine
slows both of its sides; seconds of two tables are not to be compared where the load beside them differs. Peak
MB is what was resident at most in the first run of a side, beyond what was before it. Every script first
asserts that its sides compute the same thing. A target is what was wished for before anything was built: a
miss stays on this page, beside what the part of the work that cannot be left out gets by itself.
"""


NO_CARD = (
    "`python benchmarks/gpu.py` has not been run on a card: no figure on this page is of a GPU, and what is "
    "tested of it is that it runs on tiny sizes on the CPU (`--smoke`)."
)


ON_SMOLLM2 = ("capture", "decode", "patch_grid", "attribution", "hybrid")  # scripts that run on it


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The whole page, in the order of the results' titles."""
    ordered = sorted(results, key=lambda result: result["title"])
    machines = sorted({result["machine"] for result in ordered})
    versions = sorted(
        {", ".join(f"{name} {v}" for name, v in result["versions"].items()) for result in ordered}
    )
    judged = [(result, target) for result in ordered for target in result["targets"]]
    met = sum(target["met"] for _, target in judged)
    lines = [
        HEAD,
        *(f"- Machine: {machine}." for machine in machines),
        *(f"- With {version}." for version in versions),
    ]
    lines += [f"- {met} of {len(judged)} targets are met."]
    if not any(result["name"].startswith("gpu_") for result in ordered):
        lines += [f"- {NO_CARD}"]
    there = [result["name"] for result in ordered]
    missing = [name for name in ON_SMOLLM2 if not any(n.startswith(f"{name}_smollm2") for n in there)]
    if missing:
        lines += [f"- Not measured on SmolLM2: {', '.join(missing)}."]
    lines += [""]
    lines += ["## Targets", "", "| | target | measured | |", "|---|---|---|---|"]
    for result, target in judged:
        lines.append(
            f"| {result['title']} | {target['target']} | {target['ratio']:.2f} | {verdict(target)} |"
        )
    for result in ordered:
        title, _, table = markdown(result).partition("\n\n")
        lines += ["", title, "", f"`{result['command']}`, {result['date']}.", "", table.rstrip("\n")]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tables = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    (RESULTS.parent / "RESULTS.md").write_text(page(tables))
    print(RESULTS.parent / "RESULTS.md")
