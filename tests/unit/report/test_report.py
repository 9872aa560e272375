"""The report of a run: complete, escaped, self-contained."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from reasonmech.errors import CorruptFileError, OutputError
from reasonmech.experiments import Run, load_run
from reasonmech.report import render, report, summary
from reasonmech.report.answer import answer
from reasonmech.report.preservation import OUTCOMES
from reasonmech.report.sections import Section, reading_order, sections
from tests.made_run import NASTY, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "made")


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return render(run)


class Words(HTMLParser):
    """Text of every word of a trace, and the elements of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self._in_word = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self._in_word = tag == "span" and "data-v" in values
        self.links += [values[key] or "" for key in ("src", "href") if key in values]

    def handle_data(self, data: str) -> None:
        if self._in_word:
            self.words.append(data)
            self._in_word = False


def parsed(page: str) -> Words:
    words = Words()
    words.feed(page)
    return words


def test_every_word_is_shown_as_it_was_written(page: str) -> None:
    assert parsed(page).words == [*NASTY]


def test_nothing_that_a_model_wrote_is_markup(page: str) -> None:
    tags = parsed(page).tags
    assert tags.count("script") == 3  # the plotting library, the figures, the page's own
    assert "think" not in tags and "alert(1)</script>" not in page


def test_a_name_is_no_link_in_a_figure(tmp_path: Path) -> None:
    """Plotly makes links of tags in ticks and labels, and sanitises only what they point at."""
    link = '<a href="https://example.org">full</a> <SPAN style="x">y</SPAN>'
    run = make_run(tmp_path / "made")
    for file in ("results.parquet", "features.parquet"):
        table = pd.read_parquet(run.path / file)
        table.replace({"condition": {"full": link}, "behaviour": {"check": link}}).to_parquet(run.path / file)
    record = (run.path / "record.json").read_text()
    named = json.loads(record, object_hook=lambda d: d | {"name": link} if d.get("name") == "full" else d)
    (run.path / "record.json").write_text(json.dumps(named))
    page = render(load_run(run.path))
    script = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    assert script is not None
    figures = json.loads(script[1])
    texts = list(strings(figures))
    assert any("example.org" in text for text in texts), "the name is in no figure: nothing was tried"
    assert not [text for text in texts if re.search(r"<(a|span)\b", text, re.I)]
    assert any("<b>" in text for text in texts)


def test_a_name_is_no_link_in_a_terminal(tmp_path: Path) -> None:
    from rich.console import Console

    run = make_run(tmp_path / "made")
    link = "[link=https://example.org]x[/link]"
    table = pd.read_parquet(run.path / "results.parquet").replace({"condition": {"full": link}})
    table.to_parquet(run.path / "results.parquet")
    record = json.loads((run.path / "record.json").read_text())
    for condition in record["conditions"]:
        condition["name"] = link if condition["name"] == "full" else condition["name"]
        if condition["tags"].get("behaviour") == "check":
            condition["tags"]["behaviour"] = link
    (run.path / "record.json").write_text(json.dumps(record))
    console = Console(width=200, record=True, file=io.StringIO(), force_terminal=True)
    console.print(summary(load_run(run.path)))
    written = console.export_text(styles=True)
    assert written.count("[link=https://example.org]") > 1 and "\x1b]8;" not in written


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def test_the_page_asks_for_nothing(page: str) -> None:
    assert all(link.startswith(("#", "data:")) for link in parsed(page).links)
    assert "@import" not in page and "default-src 'none'" in page


def test_the_answer_stands_with_its_interval_and_its_control(page: str) -> None:
    heading = re.search(r'<h1 id="answer">(.*?)</h1>', page, re.S)
    assert heading is not None
    assert "98.7 % [95.7, 101.7]" in heading[1] and "18.0 %" in heading[1] and "300 problems" in heading[1]
    assert "random vectors, recovers 3.0 % [0.0, 6.0]" in page


def test_every_part_is_there(page: str) -> None:
    for part in ("recovery-by-arm", "doses", "features", "traces", "receipts", "notes", "provenance"):
        assert f'<section id="{part}">' in page
    for word in ("t steered", "t env", "slip", ">check<"):
        assert word in page


@pytest.mark.parametrize("lower", [True, False])
def test_a_coder_that_is_worse_than_a_probe_is_named_in_the_headline(tmp_path: Path, lower: bool) -> None:
    run = make_run(tmp_path / "made")
    line = "The SAE is LOWER by 0.100: a group of 2 <b>features</b>"
    row = {"behaviour": "check", "detector": "group", "value": 0.8, "low": 0.7, "high": 0.9, "ahead": 0.0}
    frame = pd.DataFrame([row | {"chosen": 2.0, "sae_is_lower": lower, "headline": line}])
    frame.to_parquet(run.path / "detectors.parquet")
    run = load_run(run.path)
    assert (line in answer(run).notes) == lower
    page = render(run)
    assert "is the coder worth having?" in page and "<b>features</b>" not in page


@pytest.mark.parametrize("outcome", ["kept", "lost", "undecided"])
def test_a_coder_that_loses_a_behaviour_is_named_in_the_headline(tmp_path: Path, outcome: str) -> None:
    run = make_run(tmp_path / "made")
    row: dict[str, object] = {"behaviour": "check", "coder": "topk/resid_post.2", "outcome": outcome}
    shares = {"clean": 0.5, "spliced": 0.004, "ratio": 0.008, "error_share": 0.4}
    row |= {f"{key}{end}": value for key, value in shares.items() for end in ("", ".low", ".high")}
    pd.DataFrame([row]).to_parquet(run.path / "kept.parquet")
    run = load_run(run.path)
    line = "The coder topk/resid_post.2 loses check: under its reconstruction the base begins it 0.8 % "
    assert any(line in note for note in answer(run).notes) == (outcome == "lost")
    page = render(run)
    assert "Would it still begin under reconstruction?" in page and OUTCOMES[outcome] in page


def test_report_writes_beside_the_tables_and_summary_prints(run: Run) -> None:
    from rich.console import Console

    path = report(run)
    assert path == run.path / "report.html" and path.stat().st_size > 1e6
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(summary(run))
    text = console.export_text()
    assert "random_vectors" in text and "98.7 %" in text and "clamp" in text


def test_a_damaged_or_absent_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no run directory"):
        report(tmp_path / "nothing")
    broken = make_run(tmp_path / "broken")
    table = broken.path / "results.parquet"
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(CorruptFileError, match=r"results\.parquet"):
        report(broken.path)
    (broken.path / "record.json").unlink()
    with pytest.raises(CorruptFileError, match=r"record\.json"):
        load_run(broken.path)


def test_a_plugins_section_stands_before_the_record(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "_entries", dict(sections._entries))
    sections.register("lengths")(lambda run: Section("lengths", "Lengths <b>", "How long."))
    sections.register("absent")(lambda run: None)
    page = render(run)
    assert "Lengths &lt;b&gt;" in page and 'id="absent"' not in page
    places = [page.index(f'<section id="{name}">') for name in ("traces", "lengths", "receipts")]
    assert places == sorted(places)


def test_every_section_of_the_package_has_a_place_in_the_reading_order() -> None:
    assert sorted(reading_order()) == sections.kinds()
    assert reading_order()[:3] == ["missing", "verdict", "recovery-by-arm"]
    assert reading_order()[-1] == "provenance"
