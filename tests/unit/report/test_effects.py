"""What the table of effects quotes as a control: the worst of all doses."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from reasonmech.experiments import Run, load_run
from reasonmech.report import render, summary
from reasonmech.report.answer import answer
from reasonmech.report.frames import effect_frame
from tests.made_run import make_run


def with_values(path: Path, values: dict[str, float]) -> Run:
    """A made run in which some conditions have another P(onset)."""
    run = make_run(path)
    table = pd.read_parquet(run.path / "results.parquet")
    for condition, value in values.items():
        table.loc[(table.condition == condition) & (table.metric == "onset_probability"), "value"] = value
    table.to_parquet(run.path / "results.parquet")
    return load_run(run.path)


def test_the_worst_control_is_that_of_any_dose(tmp_path: Path) -> None:
    """The control of the lowest dose does much; at the dose of the located features it has collapsed."""
    place = "at opportunities"
    run = with_values(
        tmp_path / "run",
        {f"clamp check random 0 0.5 {place}": 0.54, f"clamp check random 0 2.0 {place}": 0.01},
    )
    row = effect_frame(run).set_index(["behaviour", "place"]).loc[("check", place)]
    assert row["dose"] == 2.0 and row["random"] == "1.0 % to 1.0 %"
    assert (row["worst_control"], row["worst_control_dose"]) == (0.54, 0.5)
    assert row["worst_control_arm"] == "random 0"
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(summary(run))
    assert "54.0 % (x0.5)" in console.export_text()


def test_where_the_located_features_lower_the_worst_control_is_the_lowest(tmp_path: Path) -> None:
    place = "at opportunities"
    values = {f"clamp check located {dose} {place}": 0.0 for dose in (0.5, 1.0, 2.0)}
    run = with_values(tmp_path / "run", values | {f"clamp check random 0 1.0 {place}": 0.03})
    row = effect_frame(run).set_index(["behaviour", "place"]).loc[("check", place)]
    assert (row["worst_control"], row["worst_control_dose"]) == (0.03, 1.0)


def test_a_curve_without_a_control_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    record = json.loads((run.path / "record.json").read_text())
    record["conditions"] = [c for c in record["conditions"] if c["tags"].get("arm") != "random 0"]
    (run.path / "record.json").write_text(json.dumps(record))
    row = effect_frame(load_run(run.path)).iloc[0]
    assert pd.isna(row["worst_control"]) and row["worst_control_arm"] == ""
    assert row["located"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("reading", "sentence"),
    [
        (
            "onset-word button",
            "clamped for check in the base model is an onset-word button: the unembedding row",
        ),
        (
            "not selective",
            "clamped for check in the base model is not selective: it also moves <b>so</b> 0.5",
        ),
        ("undecided", ""),
    ],
)
def test_a_group_that_writes_a_word_is_called_a_button_at_the_top(
    tmp_path: Path, reading: str, sentence: str
) -> None:
    run = make_run(tmp_path / "run")
    row = {"behaviour": "check", "host": "base", "verb": "clamp", "kl": 1.0, "kl_shortfall": 0.0}
    numbers = ["untouched", "value", "direct_share", "elsewhere"]
    row |= {f"{key}{end}": 0.5 for key in numbers for end in ("", ".low", ".high")}
    rows = [{"arm": "located", "reading": reading, "also": "<b>so</b> 0.5"}, {"arm": "unembedding row"}]
    frame = pd.DataFrame([row | {"reading": "", "also": ""} | more for more in rows])
    frame.to_parquet(run.path / "selectivity.parquet")
    run = load_run(run.path)
    notes = answer(run).notes
    assert any(sentence in note for note in notes) if sentence else not any("group" in note for note in notes)
    page = render(run)
    assert "A behaviour, or a word?" in page and reading in page and "<b>so</b>" not in page
