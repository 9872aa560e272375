"""Intervals of a truth: none says that what never failed can't, in files of before either."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from reasonmech.behaviours.label import Rate
from reasonmech.organisms.cache import organism_dir
from reasonmech.organisms.ground_truth.intervals import with_intervals
from reasonmech.organisms.ground_truth.truth import splice_effects
from reasonmech.organisms.record import TRUTH_FILE, read_truth
from reasonmech.stats import clopper_pearson

Json = dict[str, Any]
SHIPPED = sorted(path.parent.name for path in organism_dir().glob(f"*/{TRUTH_FILE}"))


def rates(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Json]]:
    if isinstance(node, dict) and "estimate" in node:
        yield path, node
    elif isinstance(node, dict):
        for name, part in node.items():
            yield from rates(part, (*path, name))


@pytest.mark.parametrize("name", SHIPPED)
def test_no_recorded_rate_is_certain_and_none_moves(name: str) -> None:
    home = organism_dir() / name
    before, after = json.loads((home / TRUTH_FILE).read_text()), read_truth(home)
    recorded = dict(rates(before["measured"]))
    assert recorded, "there are rates to look at"
    counts_problems = any("n_problems" in rate for rate in recorded.values())  # as files of before do not
    n_widened = 0
    for path, rate in rates(after["measured"]):
        if rate["estimate"] is None:
            continue
        assert rate["low"] < rate["high"], (path, rate)
        assert rate["low"] <= rate["estimate"] <= rate["high"]
        if path in recorded:
            assert rate["estimate"] == pytest.approx(recorded[path]["estimate"], abs=1e-12)
            n_widened += recorded[path]["low"] == recorded[path]["high"]
        if counts_problems and path[0] != "splice":  # whose ends are drawn from the outcomes at each reading
            assert rate == recorded[path], (path, "measured with the interval of its counts")
    assert bool(n_widened) != counts_problems, "only files of before have intervals of width 0"


def test_a_rate_of_none_or_all_has_the_exact_interval_of_its_problems() -> None:
    bits = "0" * 300 + "1" * 200
    outcomes = {
        "greedy": {"base": bits, "thinking": bits},
        "spliced": {f"{o}-{e}": bits for o in ("base", "thinking") for e in ("base", "thinking")},
    }
    none = {"estimate": 0.0, "low": 0.0, "high": 0.0}
    rows = {
        "as many as problems": none | {"n": 500},
        "more than problems": none | {"n": 4843},
        "fewer": {"estimate": 1.0, "low": 1.0, "high": 1.0, "n": 497},
        "counted": none | {"n": 1200, "n_problems": 40},
        "no count": none,
    }
    before = {"n_problems": 500, "outcomes": outcomes, "base": rows, "task": "chain"}
    after = with_intervals(before)
    assert after["splice"] == splice_effects(outcomes) and after["task"] == "chain"
    assert after["splice"]["how"]["low"] < 0 < after["splice"]["how"]["high"]
    for name, of, hits in (
        ("as many as problems", 500, 0),
        ("more than problems", 500, 0),
        ("fewer", 497, 497),
        ("counted", 40, 0),
        ("no count", 500, 0),
    ):
        exact = clopper_pearson(hits, of)
        assert (after["base"][name]["low"], after["base"][name]["high"]) == (exact.low, exact.high), name


def test_a_factorial_without_a_negative_difference_may_be_negative() -> None:
    """Three problems in 500 that thinking onsets solved, and none that they lost."""
    base, more = "0" * 500, "111" + "0" * 497
    spliced = {"base-base": base, "base-thinking": base, "thinking-base": more, "thinking-thinking": more}
    when = splice_effects({"greedy": {"base": base, "thinking": more}, "spliced": spliced})["when"]
    assert when["estimate"] == pytest.approx(0.006)
    assert when["low"] < 0 < when["high"]


def test_rates_are_counted_by_problem() -> None:
    from reasonmech.organisms.ground_truth import truth

    alike = truth._rate([Rate(10 * (i % 2), 10) for i in range(20)])
    assert (alike["n"], alike["n_problems"]) == (200, 20)
    assert alike["high"] - alike["low"] > 0.4, "ten opportunities of a problem that all agree are one"
    assert truth._rate([Rate(0, 0)]) == {"estimate": None, "n": 0}
    assert np.isclose(truth._rate([Rate(0, 1)] * 500)["high"], clopper_pearson(0, 500).high)
