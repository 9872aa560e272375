"""Nulls on the page: every draw, the arm's place among them, what few draws cannot say, bits passed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reasonmech.errors import DataError
from reasonmech.experiments import Run, load_run
from reasonmech.experiments.tables import NULL_DRAWS_FILE, NULLS_FILE
from reasonmech.files import write_table
from reasonmech.report import render
from reasonmech.report.sections.nulls import nulls_section
from reasonmech.stats import null_distribution
from reasonmech.viz import arm_among_draws
from tests.made_run import make_run

N = 50


def with_nulls(path: Path, *, draws: int) -> Run:
    """A made run whose arm `full` is right on all of 50 problems, and whose draws are on 10 to 30 %."""
    rng, run = np.random.default_rng(0), make_run(path)
    drawn = (rng.random((draws, N)) < rng.uniform(0.1, 0.3, draws)[:, None]).astype(float)
    among = null_distribution(np.ones(N), drawn)
    row = {
        "null": "positions", "n_draws": draws, "accuracy": 1.0, "share_below": among.share_below,
        "p": among.p, "smallest_p": among.smallest_p, "q95": among.quantile.estimate,
        "q95.low": among.quantile.low, "q95.high": among.quantile.high, "sentence": f"full: {among}",
    }  # fmt: skip
    write_table(pd.DataFrame([row]), path / NULLS_FILE)
    write_table(
        pd.DataFrame({"null": "positions", "draw": range(draws), "accuracy": drawn.mean(1)}),
        path / NULL_DRAWS_FILE,
    )
    return load_run(run.path)


def test_the_arm_stands_among_all_draws_with_their_quantile(tmp_path: Path) -> None:
    run = with_nulls(tmp_path / "many", draws=80)
    section = nulls_section(run)
    assert section is not None
    (figure,) = (each.figure for each in section.figures)
    points = {trace.name: list(trace.x) for trace in figure.data}
    assert len(points["a draw"]) == 80 and points["the arm"] == [1.0]
    assert points["95 % quantile of the draws"] == [run.nulls["q95"].iloc[0]]
    assert "above 100% of 80 draws" in section.lead and "smallest attainable 0.0123" in section.lead
    page = render(run)
    assert page.index("Recovery by arm") < page.index("Nulls, and bits passed")


def test_what_20_draws_cannot_say_of_a_quantile_is_said(tmp_path: Path) -> None:
    section = nulls_section(with_nulls(tmp_path / "few", draws=20))
    assert section is not None
    assert "not estimable" in "".join(map(str, section.blocks)) and "not estimable" in section.lead
    assert np.isfinite(section.figures[0].figure.data[1].error_x.array).all()


def test_a_run_without_nulls_or_bits_has_no_such_section(tmp_path: Path) -> None:
    assert nulls_section(make_run(tmp_path / "none")) is None


def test_a_frame_without_draws_is_refused() -> None:
    with pytest.raises(DataError, match="accuracy"):
        arm_among_draws(pd.DataFrame({"null": ["x"]}), pd.DataFrame())
