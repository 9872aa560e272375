"""The report in a real browser with the network off: no request, no error, every figure drawn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reasonmech.report import report
from tests.browser import CHROMIUM, Browser, launched
from tests.made_run import NASTY, make_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM HERE: the report was not checked in a browser"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with launched(tmp_path_factory.mktemp("chromium")) as chromium:
        yield chromium


@pytest.fixture(scope="module")
def opened(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    page = report(make_run(tmp_path_factory.mktemp("runs") / "made"))
    browser.open(page, ready="document.documentElement?.dataset.ready === 'yes'")
    return browser


def test_no_external_request_and_no_complaint(opened: Browser) -> None:
    assert len(opened.requests()) == 1 and opened.requests()[0].startswith("file://")
    assert opened.complaints() == []


def test_every_figure_is_drawn(opened: Browser) -> None:
    places = opened.run("document.querySelectorAll('.plot').length")
    assert places >= 3
    assert opened.run("document.querySelectorAll('.plot svg.main-svg').length") >= places
    heights = opened.run("[...document.querySelectorAll('.plot')].map(p => p.getBoundingClientRect().height)")
    assert all(height > 150 for height in heights)
    marks = opened.run(
        "[...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('path.point').length)"
    )
    assert all(count > 0 for count in marks)


def test_nothing_is_wider_than_a_laptop(opened: Browser) -> None:
    assert opened.run("document.documentElement.scrollWidth <= window.innerWidth")


def test_choosing_a_feature_recolours_the_words(opened: Browser) -> None:
    shade = "getComputedStyle(document.querySelector('.rm-traces .words .t')).backgroundColor"
    before = opened.run(shade)
    opened.run("document.querySelectorAll('.rm-traces > label')[1].click()")
    assert opened.run(shade) != before


def test_the_words_are_those_that_were_written(opened: Browser) -> None:
    words = opened.run("[...document.querySelectorAll('.rm-traces .words .t')].map(t => t.textContent)")
    assert words == list(NASTY)
    assert "check: 14 <script>" in opened.run("document.querySelector('.rm-traces .words .t').dataset.v")
