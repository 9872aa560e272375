"""A dashboard in a real browser with the network off: readable in a dark notebook too, searchable, no
request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from reasonmech.behaviours import label
from reasonmech.hosts import load_host
from reasonmech.interventions import Features
from reasonmech.tasks.chain import make_problem
from reasonmech.tasks.chain.parser import parse
from reasonmech.testing import tiny_coder
from reasonmech.viz import Dashboard, Findings, dashboard
from tests.browser import CHROMIUM, Browser, launched
from tests.unit.tasks.chain_text import CAREFUL, CARELESS, rollout

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM HERE: the dashboard was not looked at"),
]
LOADED = "document.readyState === 'complete' && document.querySelector('.rm-dash') !== null"
DARK = """
body { background: #111; }
.jp-RenderedHTMLCommon { color: #eee; }
:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon td, :not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon th,
:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon tr { text-align: right; color: #eee; }
.jp-RenderedHTMLCommon tbody tr:nth-child(odd) { background: #111; }
.jp-RenderedHTMLCommon tbody tr:nth-child(even) { background: #222; }
"""  # what JupyterLab's dark theme says of tables
CONTRAST = """
(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= 10 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const worst = {};
  const written = "td, th, h2, h3, h4, p, summary, .tile *, td :not(.bar)";
  for (const element of document.querySelectorAll(`.rm-dash :is(${written})`)) {
    const [dark, bright] = [numbers(getComputedStyle(element).color), behind(element)]
      .map(light).sort((a, b) => a - b);
    worst[element.tagName] = Math.min(worst[element.tagName] ?? 99, (bright + 0.05) / (dark + 0.05));
  }
  return worst;
})()
"""  # the ratio that WCAG defines, at its lowest by kind of element


@pytest.fixture(scope="module")
def shown() -> Dashboard:
    host = load_host("organism:tiny-when/base")
    problems = [make_problem(8, [("+", 4), ("*", 3), ("-", 1)], id=f"hand/{i}") for i in range(5)]
    traces = [parse(rollout(text, problem=problem)) for problem in problems for text in (CAREFUL, CARELESS)]
    claims = pd.DataFrame(
        [(3, "C1 it detects", "SUPPORTED", "well"), (3, "C2 beyond its cue", "REFUTED", "a word"),
         (11, "C1 it detects", "SUPPORTED", "well"), (11, "C2 beyond its cue", "SUPPORTED", "all of it")],
        columns=["feature", "claim", "verdict", "reason"],
    )  # fmt: skip
    features = Features(tiny_coder(host, "resid_post.1", k=12), (3, 11))
    return dashboard(
        features, host, traces=traces, labels=[label(traces, "check")], findings=Findings(claims=claims)
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with launched(tmp_path_factory.mktemp("chromium")) as chromium:
        yield chromium


def test_inline_it_can_be_read_in_a_dark_notebook(browser: Browser, shown: Dashboard, tmp_path: Path) -> None:
    page = tmp_path / "cell.html"
    cell = f'<div class="jp-RenderedHTMLCommon jp-RenderedHTML">{shown._repr_html_()}</div>'
    page.write_text(f'<!doctype html><meta charset="utf-8"><style>{DARK}</style>{cell}')
    browser.open(page, ready=LOADED)
    worst = browser.run(CONTRAST)
    assert {"TD", "TH", "H3", "H4", "P"} <= set(worst)
    assert min(worst.values()) >= 4.5, worst  # WCAG AA
    assert browser.run("getComputedStyle(document.querySelector('.rm-dash td')).textAlign") == "left"


@pytest.mark.parametrize("width", [400, 900])
def test_what_hovering_shows_is_inside_the_window(
    browser: Browser, shown: Dashboard, tmp_path: Path, width: int
) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    (tmp_path / "page.html").write_text(shown.page(3))
    browser.open(tmp_path / "page.html", ready=LOADED)
    last = """(() => {
      const places = [...document.querySelectorAll(".words .t")].map(token => token.getClientRects());
      const place = places.filter(p => p.length === 1).map(p => p[0])
        .reduce((a, b) => b.right > a.right ? b : a);
      window.scrollTo(0, place.top - 300);
      return [place.left + 2, 300 + place.height / 2];
    })()"""
    x, y = browser.run(last)
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    hovered = "document.querySelector('.words .t:hover')"
    assert "activation" in browser.run(f"{hovered}.dataset.v")
    tip = f"getComputedStyle({hovered}, '::after')"
    left = (
        0
        if browser.run(f"{tip}.position") == "fixed"
        else browser.run(f"{hovered}.getBoundingClientRect().left")
    )
    right = left + browser.run(
        f"['left', 'width', 'paddingLeft', 'paddingRight'].reduce((n, of) => n + parseFloat({tip}[of]), 0)"
    )
    browser.call("Emulation.clearDeviceMetricsOverride")
    assert 50 < right <= width


def test_the_index_finds_words_and_phrases(browser: Browser, shown: Dashboard, tmp_path: Path) -> None:
    out = shown.save(tmp_path / "pages")
    browser.events.clear()
    browser.open(out / "index.html", ready=LOADED)

    def chromium(query: str) -> list[str]:
        browser.run(f"find.value = {query!r}; find.dispatchEvent(new Event('input'))")
        return browser.run("[...document.querySelectorAll('#features tbody tr')].filter(r => !r.hidden)"
                           ".map(r => r.cells[0].textContent)")  # fmt: skip

    assert chromium("") == ["3", "11"] and chromium("refuted") == ["3"] and chromium("no such word") == []
    assert chromium("cue: supported") == ["3", "11"]  # both words are somewhere in either row
    assert chromium('"cue: supported"') == ["11"] and chromium('"cue: supp') == [
        "11"
    ]  # and while it is being typed
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert [url.split("/")[-1] for url in browser.requests()] == ["index.html"] and browser.complaints() == []
