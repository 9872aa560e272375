"""What a pair's truth must show before the pair is shipped, one line per requirement."""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]


class Requirement(NamedTuple):
    """A measured value beside its bound; `low` and `high` are inclusive. A value that could not be measured is None."""

    name: str
    value: float | None
    low: float
    high: float

    @property
    def met(self) -> bool:
        return self.value is not None and self.low <= self.value <= self.high


def when_requirements(truth: Json) -> list[Requirement]:
    """A pair in which reinforcement learning taught when, not how."""
    base, thinking, splice = truth["base"], truth["thinking"], truth["splice"]
    rows = [
        Requirement("base accuracy, greedy", base["greedy"]["accuracy"]["estimate"], 0.0, 0.40),
        Requirement("base accuracy, T = 1", base["sampled"]["accuracy"]["estimate"], 0.0, 0.40),
        Requirement("base accuracy, greedy over kinds", splice["S_BB"]["estimate"], 0.0, 0.40),
        Requirement("thinking accuracy, greedy", thinking["greedy"]["accuracy"]["estimate"], 0.95, 1.0),
        Requirement("base slips undone", base["sampled"]["slips_undone"]["estimate"], 0.0, 0.2),
        Requirement("thinking slips undone", thinking["sampled"]["slips_undone"]["estimate"], 0.95, 1.0),
        Requirement("base check onset, T = 1", base["sampled"]["onset"]["check"]["estimate"], 0.0, 0.3),
        Requirement("thinking check onset, T = 1", thinking["sampled"]["onset"]["check"]["estimate"], 0.95, 1.0),
        Requirement("HOW, points", 100 * splice["how"]["estimate"], -5.0, 5.0),
        Requirement("S_BB - free, points", 100 * splice["S_BB_minus_free"]["estimate"], -3.0, 3.0),
        Requirement("S_TT - free, points", 100 * splice["S_TT_minus_free"]["estimate"], -3.0, 3.0),
    ]
    for behaviour, models in truth["execution"].items():
        for name, rate in models.items():
            rows.append(Requirement(f"{name} {behaviour} after a forced onset", rate["estimate"], 0.97, 1.0))
            rows.append(Requirement(f"{name} {behaviour} onsets forced", rate["n"], 2000, 1e9))
    if "pass@64_verified" in base:
        rows.append(Requirement("base pass@64, process-verified", base["pass@64_verified"]["estimate"], 0.9, 1.0))
    return rows
