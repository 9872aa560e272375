"""Intervals of recorded truths, from the counts of the record: older ones had some of width 0."""

from __future__ import annotations

from typing import Any

from reasonmech.organisms.ground_truth.truth import splice_effects
from reasonmech.stats import clopper_pearson

Json = dict[str, Any]


def with_intervals(measured: Json) -> Json:
    """What was measured, with the intervals that its counts warrant; no estimate changes.

    The factorial is computed from the outcomes problem by problem. A rate whose interval has no width,
    or is NaN (bootstraps of what never varied, before 0.1.0), gets the exact one of its problems: of as many
    as the record counts, and where it counts none of the largest number that there can be, the opportunities
    or the problems, whichever are fewer.
    """
    walked = {
        name: part if name in ("outcomes", "splice") else _widen(part, measured["n_problems"])
        for name, part in measured.items()
    }
    return walked | {"splice": splice_effects(measured["outcomes"])}


def _widen(node: Any, n_problems: int) -> Any:
    if not isinstance(node, dict):
        return node
    if "estimate" not in node:
        return {name: _widen(part, n_problems) for name, part in node.items()}
    estimate = node["estimate"]
    if estimate is None or node["low"] < node["high"]:
        return node
    n = node.get("n_problems", min(node.get("n", n_problems), n_problems))
    exact = clopper_pearson(round(estimate * n), n)
    return node | {"low": exact.low, "high": exact.high}
