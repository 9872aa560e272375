"""Rows of budget curves: the numbers of a point and of a curve, and what they say in words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reasonmech.frames import rows_where
from reasonmech.hybrid.budget.config import MATCHED, OTHER, RANDOM, SECOND
from reasonmech.hybrid.budget.spending import Spent
from reasonmech.stats import SHARE, Interval, mean_interval, recovery


def point_numbers(point: Spent, alone: Spent, whole: Spent) -> dict[str, float]:
    """What stands in a point's row."""
    accuracy = mean_interval(point.correct, bounds=SHARE)
    closed = recovery(alone.correct, whole.correct, point.correct)
    return {
        "tokens": float(point.tokens.mean()),
        "percent": point.percent,
        "bits": point.bits.total,
        "length": point.length,
        **ends_of("accuracy", accuracy),
        **ends_of("closed", Interval(closed.estimate, closed.low, closed.high, closed.level)),
    }


def in_points(name: str, interval: Interval | None) -> dict[str, float]:
    """Estimate and ends in points; NaN where there is nothing to hold against."""
    ends = (np.nan, np.nan, np.nan) if interval is None else interval[:3]
    return dict(zip((name, f"{name}.low", f"{name}.high"), (100 * float(end) for end in ends), strict=True))


def ends_of(name: str, interval: Interval) -> dict[str, float]:
    """Estimate and ends of an interval, under their columns."""
    return dict(zip((name, f"{name}.low", f"{name}.high"), map(float, interval[:3]), strict=True))


def sentence_of(curves: pd.DataFrame) -> str:
    """The best ranking of one writer, beside what tokens at random do."""
    writer = str(curves["writer"].iloc[0])
    ranked = (curves["token"] == OTHER) & (curves["ranking"] != MATCHED)
    held = rows_where(curves, (curves["over"] == RANDOM) & ranked)
    if held.empty:
        return f"budget, {writer} writes: nothing but nulls was measured"
    sign = 1 if writer == "base" else -1
    best = held.iloc[int(np.argmax(sign * held["height"].to_numpy()))]
    drawn = rows_where(curves, (curves["ranking"] == RANDOM) & (curves["token"] == OTHER)).iloc[0]
    gap = {"base": "gains half of what all bring", "thinking": "loses half of what all take"}[writer]
    sentence = (
        f"budget, {writer} writes: it {gap} at {best['half']:.1f} replaced tokens per text ranked by "
        f"{best['ranking']} (the best of {len(held)} rankings in this sample), at {drawn['half']:.1f} at "
        f"random; its curve lies {_height(best)} from that of tokens at random"
    )
    for _, row in rows_where(curves, curves["over"] == SECOND).iterrows():
        sentence += (
            f"; ranked by {row['ranking']}, the other model's tokens lie {_height(row)} from the writer's "
            "own second choice at the same places, which needs no other model's words"
        )
    return sentence


def _height(row: pd.Series) -> str:
    return f"{row['height']:+.1f} points [{row['height.low']:+.1f}, {row['height.high']:+.1f}]"
