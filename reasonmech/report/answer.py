"""The answer of a run: its verdict where it has one, else what was measured; nothing else is said."""

from __future__ import annotations

from math import isinf
from typing import Any, Final, NamedTuple

import pandas as pd

from reasonmech.experiments import Run
from reasonmech.report.frames import arm_frame, numbers_by_condition
from reasonmech.report.html import Row, interval, percent, records, with_interval
from reasonmech.report.missing import count_sentence
from reasonmech.report.preservation import lost_behaviours
from reasonmech.report.selectivity import readings

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
    """The verdict about the pair; what the hybrid recovered stands below it, and above all else without one.

    What is missing stands first among the notes.
    """
    missing = count_sentence(run)
    headline = _below_verdict(run.judgement, _answer(run))
    return headline._replace(notes=(missing, *headline.notes)) if missing else headline


def _below_verdict(judgement: dict[str, Any] | None, measured: Answer) -> Answer:
    """What was measured as the notes of a verdict: a recovery does not tell when from how."""
    if judgement is None:
        warning = "No verdict was asked for: a recovery alone does not tell when from how (stage `judge`)."
        return measured._replace(notes=(*measured.notes, warning))
    detail = f"on {judgement['problems']} problems"
    tiles = (Tile("verdict", judgement["verdict"], detail, "good"), *measured.tiles)
    return Answer(judgement["sentence"], (measured.sentence, *measured.notes), tiles)


def _answer(run: Run) -> Answer:
    table = arm_frame(run)
    if table.empty or not {"base", "thinking"} <= set(table.condition):
        return _answer_without_hybrid(run)
    by_name = {row["condition"]: row for row in records(table)}
    base, thinking = by_name["base"], by_name["thinking"]
    n = run.config["task"]["n"]
    start, goal = percent(base["accuracy"]), percent(thinking["accuracy"])
    gap = f"from {start} (base) to {goal} (thinking) on {n} problems"
    tiles = [_tile("base", base, "accuracy"), _tile("thinking", thinking, "accuracy")]
    if "full" not in by_name:
        return Answer(f"The accuracy gap runs {gap}; no hybrid was run.", (), tuple(tiles))
    full, controls = by_name["full"], _controls_of_full(table)
    tiles += [
        _tile("hybrid", full, "accuracy", tone="good"),
        _tile("gap recovered", full, "recovery", tone="good"),
        Tile("tokens steered", percent(full["percent_steered"]), _explain_steered(run)),
    ]
    if controls:
        best = controls[0]
        detail = f"{_spell(best)} {interval(best['recovery.low'], best['recovery.high'])}"
        tiles.append(Tile("best control", percent(best["recovery"]), detail, "control"))
    notes = (*_coder_warnings(run), _clamp_note(by_name), _control_note(controls))
    return Answer(_answer_sentence(full, gap), tuple(note for note in notes if note), tuple(tiles))


def _tile(label: str, row: Row, metric: str, *, tone: str = "") -> Tile:
    return Tile(label, percent(row[metric]), interval(row[f"{metric}.low"], row[f"{metric}.high"]), tone)


def _answer_sentence(full: Row, gap: str) -> str:
    if isinf(full["recovery.low"]):
        return f"The gap {gap} is within its own uncertainty: no share of it can be said to be recovered."
    recovered = _recovery(full)
    return (
        f"Firing the base model's own reasoning at the thinking model's moments recovers {recovered} of the "
        f"gap {gap}, steering {percent(full['percent_steered'])} of the tokens it chooses."
    )


def _explain_steered(run: Run) -> str:
    """Percent steered is a property of the pair first: its disagreement rate stands beside it."""
    table = numbers_by_condition(run)
    if "disagreement_rate" not in table:
        return "of those the model chose"
    return f"of those it chose; the pair disagrees on {percent(table.disagreement_rate.dropna().iloc[0])}"


def _clamp_note(by_name: dict[str, Row]) -> str:
    if "clamp" not in by_name:
        return ""
    row = by_name["clamp"]
    how = "Clamping the base's own SAE features there, in place of trained vectors, recovers"
    return f"{how} {_recovery(row)}."


def _controls_of_full(table: pd.DataFrame) -> list[Row]:
    """Its controls, the one that recovers most first."""
    controls = [
        row for row in records(table) if row["control_for"] == "full" and not pd.isna(row["recovery"])
    ]
    return sorted(controls, key=lambda row: -row["recovery"])


def _control_note(controls: list[Row]) -> str:
    if not controls:
        return "No control was run beside it: read the number with that in mind."
    best = controls[0]
    sentence = f"The best of {len(controls)} controls, {_spell(best)}, recovers {_recovery(best)}."
    # the upper end counts: a control may not recover more by luck of the problems
    if best["recovery.high"] > MUST_FAIL:
        sentence += (
            f" A control must stay below {percent(MUST_FAIL)}:"
            " with this one the hybrid shows no mechanism of its own."
        )
    return sentence


def _recovery(row: Row) -> str:
    """What an arm recovers, with its interval."""
    return with_interval(row["recovery"], row["recovery.low"], row["recovery.high"])


def _spell(row: Row) -> str:
    """The name of an arm, as words."""
    return row["condition"].replace("_", " ")


def _coder_warnings(run: Run) -> tuple[str, ...]:
    """Where a coder loses a behaviour, its features detect it worse than what needs no coder, or what they
    move is a word or more than the behaviour."""
    warnings = (*lost_behaviours(run), *readings(run))
    if run.detectors.empty:
        return warnings
    lower = run.detectors.loc[run.detectors["sae_is_lower"].astype(bool)]
    return (*warnings, *dict.fromkeys(lower["headline"].tolist()))


def _answer_without_hybrid(run: Run) -> Answer:
    table, warnings = run.features, _coder_warnings(run)
    if table.empty:
        return Answer(f"{len(run.results)} numbers were measured; no hybrid was run.", warnings, ())
    selected = table[table["selected"]] if "selected" in table else table
    behaviours = ", ".join(sorted(set(selected.behaviour)))
    return Answer(
        f"{len(selected)} features of the base model were located for {behaviours}; no hybrid was run.",
        warnings,
        (),
    )
