"""Figures of attribution draw every row, tell groups apart without colour, and stay honest where an interval
is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reasonmech.errors import DataError
from reasonmech.viz.attribution import audit_scatter, faithfulness_curves
from reasonmech.viz.theme import CONTROL


@pytest.fixture
def audited() -> pd.DataFrame:
    rows = [
        ("resid_post.1", 3, "top", 0.5, 0.4),
        ("resid_post.1", 9, "top", -0.2, -0.3),
        ("resid_post.1", 1, "sample", 0.01, 0.0),
        ("resid_post.1", None, "error", 0.1, 0.3),
    ]
    frame = pd.DataFrame(rows, columns=["site", "feature", "group", "estimate", "exact"])
    return frame.astype({"feature": "Int64"}).assign(metric="logit_diff", unit="logits")


@pytest.fixture
def curve() -> pd.DataFrame:
    rows = [
        (group, group.startswith("random"), n, error, patched, 0.1 * n, 0.1 * n - 0.05, 0.1 * n + 0.05)
        for group in ("located", "random 0", "random 1")
        for n in (4, 0, 1)
        for error in ("keep", "drop")
        for patched in ("group", "rest")
    ]
    names = ["group", "control", "n", "error", "patched", "share", "share_low", "share_high"]
    return pd.DataFrame(rows, columns=names).assign(metric="logit_diff", unit="logits")


def test_an_audit_shows_every_node_by_its_group_beside_the_line_of_equality(audited: pd.DataFrame) -> None:
    figure = audit_scatter(audited, note="Spearman 1.00")
    line, *points = figure.data
    assert list(line.x) == list(line.y) == [-0.3, 0.5]
    assert {trace.name: list(zip(trace.x, trace.y, strict=True)) for trace in points} == {
        "top of the attribution": [(0.5, 0.4), (-0.2, -0.3)],
        "random sample of the rest": [(0.01, 0.0)],
        "error of the coder": [(0.1, 0.3)],
    }
    assert len({trace.marker.symbol for trace in points}) == 3
    assert list(points[0].customdata) == ["feature 3 · resid_post.1", "feature 9 · resid_post.1"]
    assert list(points[2].customdata) == ["error · resid_post.1"]
    assert figure.layout.annotations[0].text == "Spearman 1.00"


def test_curves_put_located_groups_beside_random_ones_in_order_of_size(curve: pd.DataFrame) -> None:
    figure = faithfulness_curves(curve)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    assert len(lines) == len(bands) == 3 * 4
    assert all(list(trace.y) == pytest.approx([0.0, 0.1, 0.4]) for trace in lines)
    assert all(trace.line.dash == CONTROL.dash for trace in lines if trace.name == "random groups")
    assert [trace.name for trace in lines if trace.showlegend] == ["located", "random groups"]
    assert list(figure.layout.xaxis.ticktext) == ["0", "1", "4"]
    assert (
        "faithfulness" in figure.layout.annotations[0].text
        and "error kept" in figure.layout.annotations[0].text
    )


def test_an_unbounded_interval_is_not_drawn_as_a_band(curve: pd.DataFrame) -> None:
    figure = faithfulness_curves(curve.assign(share_low=-np.inf, share_high=np.inf))
    assert len(figure.data) == 12 and not any(trace.fill == "toself" for trace in figure.data)


def test_frames_that_cannot_be_drawn_are_refused(audited: pd.DataFrame, curve: pd.DataFrame) -> None:
    for draw, frame in ((audit_scatter, audited), (faithfulness_curves, curve)):
        with pytest.raises(DataError, match="needs columns metric"):
            draw(frame.drop(columns="metric"))
        with pytest.raises(DataError, match="no rows"):
            draw(frame[:0])
        with pytest.raises(DataError, match="2 metrics"):
            draw(pd.concat([frame, frame.assign(metric="other")]))
