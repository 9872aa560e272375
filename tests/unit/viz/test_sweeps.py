"""Figures of sweeps draw every configuration, controls apart, and refuse frames that would mislead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reasonmech.errors import DataError
from reasonmech.viz.sweeps import sweep_curves, sweep_map
from reasonmech.viz.theme import CONTROL, MARKS


@pytest.fixture
def mean() -> pd.DataFrame:
    rows = [
        (
            axis,
            "steer",
            amount,
            where,
            seed,
            "prefers",
            "logits",
            size * amount,
            size * amount - 0.5,
            size * amount + 0.5,
        )
        for where in ("last", "all")
        for axis, seed, size in (("v", None, 1.0), ("w", None, -2.0), ("random", 0, 0.1), ("random", 1, -0.1))
        for amount in (4.0, 1.0, 2.0)
    ]
    columns = [
        "axis",
        "verb",
        "amount",
        "where",
        "seed",
        "metric",
        "unit",
        "effect",
        "effect_low",
        "effect_high",
    ]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})


def test_curves_draw_every_axis_with_its_interval_and_controls_apart(mean: pd.DataFrame) -> None:
    figure = sweep_curves(mean)
    bands, lines = list(figure.data[::2]), list(figure.data[1::2])
    assert len(lines) == len(bands) == 2 * 4
    assert [list(line.x) for line in lines] == [[1.0, 2.0, 4.0]] * 8
    assert list(lines[1].y) == [-2.0, -4.0, -8.0]
    assert list(bands[1].y) == [-1.5, -3.5, -7.5, -8.5, -4.5, -2.5]
    assert [line.line.color for line in lines[:4]] == [
        MARKS[0].colour,
        MARKS[1].colour,
        CONTROL.colour,
        CONTROL.colour,
    ]
    assert [line.name for line in lines if line.showlegend] == ["v", "w", "random"]
    assert {line.marker.symbol for line in lines[:3]} == {MARKS[0].symbol, MARKS[1].symbol, CONTROL.symbol}


def test_a_map_marks_what_its_interval_holds_apart_from_zero(mean: pd.DataFrame) -> None:
    figure = sweep_map(mean)
    assert len(figure.data) == 2
    panel = figure.data[0]
    assert list(panel.y) == ["v", "w", "random · seed 0", "random · seed 1"] and list(panel.x) == [
        "1",
        "2",
        "4",
    ]
    assert np.array_equal(panel.z[1], [-2.0, -4.0, -8.0])
    assert list(panel.text[1]) == ["-2.00", "-4.00", "-8.00"] and list(panel.text[2]) == ["", "", ""]
    assert figure.layout.coloraxis.cmax == -figure.layout.coloraxis.cmin == 8.0


def test_amounts_that_are_none_are_one_column(mean: pd.DataFrame) -> None:
    ablated = mean[mean["amount"] == 1.0].assign(amount=np.nan, verb="ablate")
    assert list(sweep_map(ablated).data[0].x) == [""]


def test_frames_that_would_mislead_are_refused(mean: pd.DataFrame) -> None:
    both = pd.concat([mean, mean.assign(verb="clamp")])
    for draw in (sweep_curves, sweep_map):
        with pytest.raises(DataError, match="clamp, steer in one figure"):
            draw(both)
        with pytest.raises(DataError, match="no rows"):
            draw(mean.iloc[:0])
        with pytest.raises(DataError, match="effect_low"):
            draw(mean.drop(columns=["effect_low"]))
    with pytest.raises(DataError, match="two configurations"):
        sweep_map(pd.concat([mean, mean]))
    many = pd.concat([mean.assign(axis=f"axis {i}") for i in range(7)])
    with pytest.raises(DataError, match="7 axes"):
        sweep_curves(many)
