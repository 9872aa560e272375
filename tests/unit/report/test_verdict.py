"""The verdict on the page: first in the headline, with its findings and its figure."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasonmech.claims import judge_evidence
from reasonmech.claims.saving import JUDGEMENT_FILE, judgement_text
from reasonmech.errors import CorruptFileError
from reasonmech.experiments import load_run
from reasonmech.report import render
from reasonmech.report.answer import answer
from reasonmech.report.sections.verdict import gap_frame
from tests.made_run import make_run
from tests.unit.claims.made_evidence import made_evidence, made_outcomes


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_run(tmp_path_factory.mktemp("runs") / "judged").path
    judgement = judge_evidence(made_evidence(made_outcomes(0.13, 1.0, 0.13, 1.0, n=300)))
    (path / JUDGEMENT_FILE).write_text(judgement_text(judgement))
    return path


def test_the_verdict_is_the_first_sentence_and_recovery_stands_below_it(path: Path) -> None:
    headline = answer(load_run(path))
    assert headline.sentence.startswith("Training taught made how")
    assert "recovers" in headline.notes[0]
    assert headline.tiles[0].number == "HOW"


def test_a_run_without_a_verdict_says_what_its_recovery_cannot_tell(tmp_path: Path) -> None:
    headline = answer(make_run(tmp_path / "unjudged"))
    assert "does not tell when from how" in headline.notes[-1]


def test_the_page_has_the_verdict_before_the_arms(path: Path) -> None:
    page = render(load_run(path))
    assert page.index("Verdict: HOW") < page.index("Recovery by arm")
    assert "C10" in page and "Methods, as a paper can print them" in page


def test_the_figure_shows_each_factor_under_each_decoding(path: Path) -> None:
    judgement = load_run(path).judgement
    assert judgement is not None
    frame = gap_frame(judgement)
    assert len(frame) == 6
    how = frame[frame["factor"].str.startswith("HOW") & (frame["decoding"] == "greedy")].iloc[0]
    assert how["low"] <= how["estimate"] <= how["high"] and how["estimate"] == pytest.approx(0.87)


def test_a_damaged_judgement_is_named(path: Path, tmp_path: Path) -> None:
    broken = make_run(tmp_path / "broken").path
    (broken / JUDGEMENT_FILE).write_text('{"verdict": "WHEN"}')
    with pytest.raises(CorruptFileError, match=JUDGEMENT_FILE):
        answer(load_run(broken))
