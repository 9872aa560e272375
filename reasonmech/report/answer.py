"""The answer of a run in one sentence, from its table; what was not measured is not said."""

from __future__ import annotations

from math import isinf
from typing import Final, NamedTuple

import pandas as pd

from reasonmech.experiments import Run
from reasonmech.report.frames import arms, wholes
from reasonmech.report.html import Row, interval, percent, records
from reasonmech.report.preservation import lost

MUST_FAIL: Final = 0.10  # upper bound of what a control may recover


class Tile(NamedTuple):
    """One headline number. `tone`: "good" for the hybrid, "control" for what must fail, "" else."""

    label: str
    number: str
    detail: str
    tone: str = ""


class Answer(NamedTuple):
    """The headline of a page."""

    sentence: str
    notes: tuple[str, ...]
    tiles: tuple[Tile, ...]


def answer(run: Run) -> Answer:
    """What the hybrid recovered, beside its best control; the located features only, when no hybrid was
    run."""
    table = arms(run)
    if table.empty or not {"base", "thinking"} <= set(table.condition):
        return _without_hybrid(run)
    by_name = {row["condition"]: row for row in records(table)}
    base, thinking = by_name["base"], by_name["thinking"]
    n = run.config["task"]["n"]
    start, goal = percent(base["accuracy"]), percent(thinking["accuracy"])
    gap = f"from {start} (base) to {goal} (thinking) on {n} problems"
    tiles = [
        Tile("base", percent(base["accuracy"]), interval(base["accuracy.low"], base["accuracy.high"])),
        Tile(
            "thinking",
            percent(thinking["accuracy"]),
            interval(thinking["accuracy.low"], thinking["accuracy.high"]),
        ),
    ]
    if "full" not in by_name:
        return Answer(f"The accuracy gap runs {gap}; no hybrid was run.", (), tuple(tiles))
    full = by_name["full"]
    tiles += [
        Tile(
            "hybrid", percent(full["accuracy"]), interval(full["accuracy.low"], full["accuracy.high"]), "good"
        ),
        Tile(
            "gap recovered",
            percent(full["recovery"]),
            interval(full["recovery.low"], full["recovery.high"]),
            "good",
        ),
        Tile("tokens steered", percent(full["percent_steered"]), _bound(run)),
    ]
    notes = (*_coder_warnings(run), _clamped(by_name), _controls(table, tiles))
    return Answer(_sentence(full, gap), tuple(note for note in notes if note), tuple(tiles))


def _sentence(full: Row, gap: str) -> str:
    if isinf(full["recovery.low"]):
        return f"The gap {gap} is within its own uncertainty: no share of it can be said to be recovered."
    recovered = f"{percent(full['recovery'])} {interval(full['recovery.low'], full['recovery.high'])}"
    return (
        f"Firing the base model's own reasoning at the thinking model's moments recovers {recovered} of the "
        f"gap {gap}, "
        f"steering {percent(full['percent_steered'])} of the tokens it chooses."
    )


def _bound(run: Run) -> str:
    """Percent steered is a property of the pair first: its disagreement rate stands beside it."""
    table = wholes(run)
    if "disagreement_rate" not in table:
        return "of those the model chose"
    return f"of those it chose; the pair disagrees on {percent(table.disagreement_rate.dropna().iloc[0])}"


def _clamped(by_name: dict[str, Row]) -> str:
    if "clamp" not in by_name:
        return ""
    row = by_name["clamp"]
    spread = interval(row["recovery.low"], row["recovery.high"])
    how = "Clamping the base's own SAE features there, in place of trained vectors, recovers"
    return f"{how} {percent(row['recovery'])} {spread}."


def _controls(table: pd.DataFrame, tiles: list[Tile]) -> str:
    controls = [
        row for row in records(table) if row["control_for"] == "full" and not pd.isna(row["recovery"])
    ]
    if not controls:
        return "No control was run beside it: read the number with that in mind."
    best = max(controls, key=lambda row: row["recovery"])
    name = best["condition"].replace("_", " ")
    spread = interval(best["recovery.low"], best["recovery.high"])
    tiles.append(Tile("best control", percent(best["recovery"]), f"{name} {spread}", "control"))
    said = f"The best of {len(controls)} controls, {name}, recovers {percent(best['recovery'])} {spread}."
    if best["recovery.high"] > MUST_FAIL:
        said += (
            f" A control must stay below {percent(MUST_FAIL)}:"
            " with this one the hybrid shows no mechanism of its own."
        )
    return said


def _coder_warnings(run: Run) -> tuple[str, ...]:
    """Where a coder loses a behaviour or its features detect it worse than what needs none: the rest stands
    on it."""
    if run.detectors.empty:
        return lost(run)
    lower = run.detectors.loc[run.detectors["sae_is_lower"].astype(bool)]
    return (*lost(run), *dict.fromkeys(lower["headline"].tolist()))


def _without_hybrid(run: Run) -> Answer:
    table, warnings = run.features, _coder_warnings(run)
    if table.empty:
        return Answer(f"{len(run.results)} numbers were measured; no hybrid was run.", warnings, ())
    found = table[table["selected"]] if "selected" in table else table
    behaviours = ", ".join(sorted(set(found.behaviour)))
    return Answer(
        f"{len(found)} features of the base model were located for {behaviours}; no hybrid was run.",
        warnings,
        (),
    )
