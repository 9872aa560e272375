"""Bounds on a pair's measured truth that must be met before the pair is shipped."""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]


class Requirement(NamedTuple):
    """A measured value beside its bounds, both inclusive; None is a value that could not be measured."""

    name: str
    value: float | None
    low: float
    high: float

    @property
    def met(self) -> bool:
        return self.value is not None and self.low <= self.value <= self.high


def accuracy(truth: Json, role: str, low: float, high: float, *, decoding: str = "greedy") -> Requirement:
    """Accuracy of a model's free run, "greedy" or "sampled" (T = 1)."""
    suffix = "greedy" if decoding == "greedy" else "T = 1"
    return Requirement(f"{role} accuracy, {suffix}", truth[role][decoding]["accuracy"]["estimate"], low, high)


def undone(truth: Json, role: str, low: float, high: float) -> Requirement:
    """Share of slips undone before the next step, at T = 1."""
    return Requirement(f"{role} slips undone", truth[role]["sampled"]["slips_undone"]["estimate"], low, high)


def onset(truth: Json, role: str, behaviour: str, low: float, high: float) -> Requirement:
    """Onsets per opportunity, at T = 1."""
    value = truth[role]["sampled"]["onset"][behaviour]["estimate"]
    return Requirement(f"{role} {behaviour} onset, T = 1", value, low, high)


def points(truth: Json, factor: str, low: float, high: float) -> Requirement:
    """WHEN or HOW of the splice factorial, in points."""
    return Requirement(f"{factor.upper()}, points", 100 * truth["splice"][factor]["estimate"], low, high)


def faithful(truth: Json) -> list[Requirement]:
    """Choosing among sentence kinds instead of tokens changes neither model by more than 3 points."""
    return [
        Requirement(
            f"S_{cell} - free, points", 100 * truth["splice"][f"S_{cell}_minus_free"]["estimate"], -3.0, 3.0
        )
        for cell in ("BB", "TT")
    ]


def succeeded(truth: Json, behaviour: str, role: str, low: float, high: float) -> Requirement:
    """Execution success in a model's own texts, at T = 1."""
    value = truth[role]["sampled"]["execution"][behaviour]["estimate"]
    return Requirement(f"{role} {behaviour} right, T = 1", value, low, high)


def execution_alone(truth: Json) -> list[Requirement]:
    """Both models check everything, one is right and the other is not, and all of that lies in execution."""
    return [
        accuracy(truth, "base", 0.0, 0.25),
        accuracy(truth, "thinking", 0.95, 1.0),
        onset(truth, "base", "check", 0.95, 1.0),
        onset(truth, "thinking", "check", 0.95, 1.0),
        points(truth, "when", -5.0, 5.0),
        points(truth, "how", 70.0, 100.0),
        *faithful(truth),
    ]


def executed(truth: Json, behaviour: str, role: str, low: float, high: float = 1.0) -> list[Requirement]:
    """Execution after a forced onset, and how many onsets were forced."""
    rate = truth["execution"][behaviour][role]
    return [
        Requirement(f"{role} {behaviour} after a forced onset", rate["estimate"], low, high),
        Requirement(f"{role} {behaviour} onsets forced", rate["n"], 2000, 1e9),
    ]


def covered(truth: Json, low: float) -> list[Requirement]:
    """Process-verified pass@64 of the base, where it was measured."""
    share = truth["base"].get("pass@64_verified")
    return [Requirement("base pass@64, process-verified", share["estimate"], low, 1.0)] if share else []


def taught_when(truth: Json) -> list[Requirement]:
    """A pair in which reinforcement learning taught when, not how."""
    rows = [
        accuracy(truth, "base", 0.0, 0.40),
        accuracy(truth, "base", 0.0, 0.40, decoding="sampled"),
        Requirement("base accuracy, greedy over kinds", truth["splice"]["S_BB"]["estimate"], 0.0, 0.40),
        accuracy(truth, "thinking", 0.95, 1.0),
        undone(truth, "base", 0.0, 0.2),
        undone(truth, "thinking", 0.95, 1.0),
        onset(truth, "base", "check", 0.0, 0.3),
        onset(truth, "thinking", "check", 0.95, 1.0),
        points(truth, "how", -5.0, 5.0),
        *faithful(truth),
    ]
    for behaviour in ("check", "backtrack"):
        for role in ("base", "thinking"):
            rows += executed(truth, behaviour, role, 0.97)
    return rows + covered(truth, 0.9)
