"""A heatmap says where an effect is beyond doubt, and what has no value; effects stand beside their parts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reasonmech.errors import DataError, UnknownNameError
from reasonmech.viz import effect_parts, patch_heatmap


def grid(n_places: int = 3) -> pd.DataFrame:
    rows = [
        ("resid_post.0", "resid_post", str(p), value, value - 0.1, value + 0.1)
        for p, value in zip(range(n_places), (0.5, 0.05, -0.8, *[0.3] * 30), strict=False)
    ]
    rows += [("z.1.2", "z", "0", np.nan, -np.inf, np.inf), ("z.1.2", "z", "1", 0.4, np.nan, np.nan)]
    frame = pd.DataFrame(
        rows, columns=["site", "kind", "position", "normalised", "normalised_low", "normalised_high"]
    )
    return frame.assign(metric="logit_diff", unit="logits", direction="noise")


def test_cells_keep_their_place_and_only_those_whose_interval_excludes_zero_carry_a_number() -> None:
    figure = patch_heatmap(grid())
    stream, head = figure.data
    assert stream.y == ("0",) and head.y == ("1.2",) and list(stream.x) == ["0", "1", "2"]
    assert np.allclose(stream.z, [[0.5, 0.05, -0.8]])
    assert [list(line) for line in stream.text] == [["0.50", "", "-0.80"]]
    assert [list(line) for line in head.text] == [["", "0.40", ""]], (
        "one problem has no interval; no value, no number"
    )
    assert figure.layout.coloraxis.cmin == -0.8 and figure.layout.coloraxis.cmax == 0.8
    assert "patched from the corrupt one" in figure.layout.title.text


def test_a_crowded_panel_marks_with_dots() -> None:
    text = patch_heatmap(grid(20)).data[0].text
    assert set(text[0]) == {"•", ""}


def test_effects_in_the_metrics_unit_and_only_one_metric_to_a_figure() -> None:
    frame = grid().rename(columns=lambda name: name.replace("normalised", "effect"))
    assert patch_heatmap(frame, value="effect").layout.coloraxis.colorbar.title.text == "logits"
    with pytest.raises(DataError, match="2 metrics and directions"):
        patch_heatmap(pd.concat([grid(), grid().assign(direction="denoise")]))
    with pytest.raises(DataError, match="normalised_low"):
        patch_heatmap(frame)
    with pytest.raises(DataError, match="no rows"):
        patch_heatmap(grid().iloc[:0])
    with pytest.raises(UnknownNameError, match="normalised, effect"):
        patch_heatmap(grid(), value="gap")  # type: ignore[arg-type]


def test_every_part_of_an_effect_is_drawn_with_its_interval() -> None:
    rows = {
        f"{part}{end}": [value + shift, 2 * value + shift]
        for part, value in (("total", 1.0), ("direct", 0.25), ("indirect", 0.75))
        for end, shift in (("", 0.0), ("_low", -0.5), ("_high", 0.25))
    }
    frame = pd.DataFrame(rows).assign(
        site="mlp_out.1", position=["0", "end"], metric="logit_diff", unit="logits", direction="denoise"
    )
    figure = effect_parts(frame)
    assert [trace.name for trace in figure.data] == ["total", "direct", "indirect"]
    assert len({trace.marker.symbol for trace in figure.data}) == 3
    assert list(figure.data[1].x) == [0.25, 0.5]
    assert list(figure.data[0].error_x.array) == [0.25, 0.25] and list(figure.data[0].error_x.arrayminus) == [
        0.5,
        0.5,
    ]
    assert figure.layout.yaxis.ticktext == ("mlp_out.1 · end", "mlp_out.1 · 0")
