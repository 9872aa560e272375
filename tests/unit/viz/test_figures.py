"""Figures draw every row with its interval, tell kinds apart without colour, and need no more than their
columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reasonmech.errors import DataError
from reasonmech.viz import dose_curves, feature_table, recovery_by_arm, value_by_site
from reasonmech.viz.theme import CONTROL, MARKS


@pytest.fixture
def arms() -> pd.DataFrame:
    rows = [
        ("full", 0.99, 0.96, 1.02, 0.1),
        ("takeover", 1.0, 1.0, 1.0, 0.1),
        ("random_vectors", -0.06, -np.inf, np.inf, 0.1),
    ]
    return pd.DataFrame(rows, columns=["arm", "estimate", "low", "high", "steered"])


@pytest.fixture
def doses() -> pd.DataFrame:
    rows = [
        (behaviour, place, arm, dose, 0.1 * dose, 0.1 * dose - 0.05, 0.1 * dose + 0.05)
        for behaviour in ("check", "backtrack")
        for place in ("at opportunities", "elsewhere")
        for arm in ("located", "random 1", "random 2")
        for dose in (2.0, 0.0, 1.0)
    ]
    return pd.DataFrame(rows, columns=["behaviour", "place", "arm", "dose", "value", "low", "high"])


@pytest.fixture
def features() -> pd.DataFrame:
    rows = [
        (
            "check",
            "anticipates",
            f"resid_post.{layer}",
            kind,
            feature,
            "AUROC",
            value,
            value - 0.05,
            value + 0.03,
            value,
        )
        for layer in range(3)
        for kind, feature, value in (
            ("feature", 4, 0.7),
            ("feature", 9, 0.6),
            ("probe", -1, 0.8),
            ("ceiling", -1, 0.9),
        )
    ]
    names = ["behaviour", "mode", "site", "kind", "feature", "unit", "value", "low", "high", "train_value"]
    return pd.DataFrame(rows, columns=names)


def test_marks_differ_in_more_than_colour() -> None:
    marks = [*MARKS, CONTROL]
    assert len({mark.symbol for mark in marks}) == len(marks)
    assert len({mark.colour for mark in marks}) == len(marks)


def test_recovery_draws_each_arm_and_says_when_unbounded(arms: pd.DataFrame) -> None:
    figure = recovery_by_arm(arms)
    drawn = {str(y): (x, trace.name) for trace in figure.data for x, y in zip(trace.x, trace.y, strict=True)}
    assert drawn == {
        "full": (0.99, "hybrid"),
        "takeover": (1.0, "ceiling"),
        "random_vectors": (-0.06, "random control"),
    }
    full = next(trace for trace in figure.data if trace.name == "hybrid")
    assert (full.error_x.array[0], full.error_x.arrayminus[0]) == pytest.approx((0.03, 0.03))
    texts = [a.text for a in figure.layout.annotations]
    assert any("[unbounded]" in text and "10.0% steered" in text for text in texts)
    assert list(figure.layout.yaxis.categoryarray) == ["random_vectors", "takeover", "full"]


def test_dose_curves_have_a_panel_each_and_bands_in_order_of_dose(doses: pd.DataFrame) -> None:
    figure = dose_curves(doses)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    assert len(lines) == len(bands) == 2 * 2 * 3
    assert all(list(line.x) == [0.0, 1.0, 2.0] for line in lines)
    assert list(bands[0].y) == pytest.approx([0.05, 0.15, 0.25, 0.15, 0.05, -0.05])
    assert {line.name for line in lines if line.showlegend} == {"located", "random, matched"}
    assert len({line.line.dash for line in lines}) == 2


def test_feature_figures_leave_nothing_valued_out(features: pd.DataFrame) -> None:
    figure = feature_table(features)
    assert sum(len(trace.x) for trace in figure.data) == len(features)
    labels = {str(y): x for trace in figure.data for x, y in zip(trace.x, trace.y, strict=True)}
    assert labels["feature 4 · resid_post.1"] == 0.7
    assert labels["logistic probe · resid_post.1"] == 0.8
    both = pd.concat(
        [features.assign(source="base"), features.assign(source="thinking", value=features.value - 0.1)]
    )
    labels = {str(y): x for trace in feature_table(both).data for x, y in zip(trace.x, trace.y, strict=True)}
    assert (
        labels["feature 4 · resid_post.1 · base"],
        labels["feature 4 · resid_post.1 · thinking"],
    ) == pytest.approx((0.7, 0.6))
    untested = features.assign(value=features.value.where(features.feature != 9))
    assert sum(len(trace.x) for trace in feature_table(untested).data) == len(features) - 3


def test_best_feature_by_site_is_the_one_chosen_in_training(features: pd.DataFrame) -> None:
    lucky = features.assign(value=features.value.where(features.feature != 9, 0.95))
    best = next(trace for trace in value_by_site(lucky).data if trace.name == "best SAE feature")
    assert list(best.y) == [0.7, 0.7, 0.7]
    with pytest.raises(DataError, match="2 searches"):
        value_by_site(pd.concat([features, features.assign(behaviour="plan")]))


def test_a_missing_column_or_an_empty_frame_is_named(arms: pd.DataFrame, doses: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="steered"):
        recovery_by_arm(arms.drop(columns="steered"))
    with pytest.raises(DataError, match="no rows"):
        dose_curves(doses[:0])
