"""Section of nulls: the full arm among draws of each, and how many bits every arm's controller passes."""

from __future__ import annotations

import math

import pandas as pd

from reasonmech.experiments import Run
from reasonmech.report.frames import numbers_by_condition
from reasonmech.report.html import Column, Figure, Section, interval, number, percent, table, text
from reasonmech.report.sections.base import sections
from reasonmech.viz import arm_among_draws

_BITS = ("bits_gate", "bits_choice", "bits_passed")


@sections.register("nulls")
def nulls_section(run: Run) -> Section | None:
    """Nulls as distributions with the arm's place in each; bits per text that controllers say to the base."""
    nulls, bits = run.nulls, bits_frame(run)
    if nulls.empty and bits.empty:
        return None
    figures, blocks, sentences = [], [], []
    if not nulls.empty:
        figures.append(
            Figure(
                "nulls-figure",
                arm_among_draws(run.null_draws, nulls),
                "Right answers of the arm full and of every draw of its nulls, each at its own best dose.",
            )
        )
        columns = (
            Column("null", "null"),
            Column("n_draws", "draws", number),
            Column("accuracy", "full, right", percent),
            Column("place", "above so many draws", percent),
            Column("p", "p", number),
            Column("smallest_p", "smallest p", number),
            Column("q95", "95 % quantile of the draws", percent),
            Column("q95_interval", "95 % interval", text),
        )
        blocks.append(table(_places(nulls), columns))
        sentences = [f"{sentence}." for sentence in nulls["sentence"].astype(str)]
    if not bits.empty:
        columns = (
            Column("condition", "arm"),
            Column("bits_gate", "bits: whether to steer", number),
            Column("bits_choice", "bits: which category or token", number),
            Column("bits_passed", "bits per text", number),
        )
        blocks.append(table(bits, columns))
    lead = " ".join(["One draw is no null: the arm is ranked among many.", *sentences])
    return Section("nulls", "Nulls, and bits passed", lead, figures, blocks)


def _places(nulls: pd.DataFrame) -> pd.DataFrame:
    """A row per null: where the arm lies, and the null's upper quantile with what its draws say of it."""
    ends = zip(nulls["q95.low"], nulls["q95.high"], strict=True)
    return nulls.assign(place=nulls["share_below"], q95_interval=[_ends(low, high) for low, high in ends])


def _ends(low: float, high: float) -> str:
    """An interval of which an end may not be estimable with so few draws."""
    if math.isfinite(low) and math.isfinite(high):
        return interval(low, high)
    lower, upper = (percent(end) if math.isfinite(end) else "not estimable" for end in (low, high))
    return f"{lower} to {upper}"


def bits_frame(run: Run) -> pd.DataFrame:
    """One row per arm whose controller's decisions were logged; empty where none was."""
    numbers = numbers_by_condition(run)
    if not set(_BITS) <= set(numbers.columns):
        return pd.DataFrame(columns=["condition", *_BITS])
    return pd.DataFrame(numbers, columns=list(_BITS)).dropna().reset_index(names="condition")
