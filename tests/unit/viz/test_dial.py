"""The figure of the dial draws every setting with its interval."""

from __future__ import annotations

import pandas as pd
import pytest

from reasonmech.errors import DataError
from reasonmech.viz import dial_curves


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        (factor, other, share, 0.2 + slope * share, 0.1 + slope * share, 0.3 + slope * share)
        for factor, slope in (("onset", 0.6), ("executor", 0.1))
        for other in ("base", "thinking")
        for share in (1.0, 0.0, 0.5)
    ]
    return pd.DataFrame(rows, columns=["factor", "other", "share", "accuracy", "low", "high"])


def test_each_setting_is_a_line_in_order_with_its_band(table: pd.DataFrame) -> None:
    bands, lines = dial_curves(table).data[::2], dial_curves(table).data[1::2]
    assert len(bands) == len(lines) == 4 and len({line.name for line in lines}) == 4
    for band, line in zip(bands, lines, strict=True):
        assert list(line.x) == [0.0, 0.5, 1.0] and list(line.y) == sorted(line.y)
        assert list(band.y)[:3] == pytest.approx([y + 0.1 for y in line.y])
        assert list(band.y)[3:] == pytest.approx([y - 0.1 for y in line.y][::-1])
    slopes = {line.name.split(":")[0]: line.y[2] - line.y[0] for line in lines}
    assert slopes == pytest.approx({"onset": 0.6, "executor": 0.1})


def test_a_frame_without_an_interval_or_rows_is_refused(table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="low"):
        dial_curves(table.drop(columns="low"))
    with pytest.raises(DataError, match="no rows"):
        dial_curves(table.head(0))
