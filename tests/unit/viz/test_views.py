"""Views escape whatever a text holds, load nothing, and keep what follows them."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.viz.traces import traces_html
from reasonmech.viz.view import TokenView

NASTY = (
    "Q",
    " <think>",
    " wait",
    " </script>",
    " <img src=x onerror=alert(1)>",
    " &amp;",
    ' "quoted"',
    "\n",
    " naïve",
    " 𝄞",
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class _Tags(HTMLParser):
    """Start tags, their attributes, and text outside script and style."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.inside = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag) -> None:
        self.inside = ""

    def handle_data(self, data) -> None:
        if self.inside not in ("script", "style"):
            self.text += data


def _parse(source: str) -> _Tags:
    parser = _Tags()
    parser.feed(source)
    return parser


def _view(n_values: int = 1, labels: tuple[str, ...] = ("sae/1", "x </script> <b>")) -> TokenView:
    values = np.random.default_rng(0).random((len(NASTY), n_values))
    return TokenView("<b>title</b> at resid_post.2", NASTY, values, labels[:n_values])


def _frame() -> pd.DataFrame:
    n = len(NASTY)
    columns = {
        "trace": "problem <i>7",
        "offset": range(n),
        "text": NASTY,
        "environment": [False] * (n - 1) + [True],
    }
    marks = {
        "steered": [False, True] + [False] * (n - 2),
        "onset": ["plan"] + [""] * (n - 1),
        "slip": [False] * n,
    }
    return pd.DataFrame(columns | marks | {"f <1>": np.linspace(0, 2, n), "g": np.zeros(n)})


@pytest.mark.parametrize("n_values", [1, 2])
def test_a_view_has_one_script_and_loads_nothing(n_values: int) -> None:
    page = _view(n_values).html
    parsed = _parse(page)
    assert [tag for tag, _ in parsed.tags if tag in ("script", "img", "link", "iframe", "b")] == ["script"]
    assert page.count("</script>") == 1
    assert not [attrs for _, attrs in parsed.tags if {"src", "href"} & set(attrs)]
    assert not re.search(r"unpkg|cdn\.|googleapis", page)
    assert "import(" not in page.split("CircuitsVis.render")[1]
    assert "&lt;think&gt;" in page


def test_displaying_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: tried.append(args))
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: tried.append(address))
    assert "CircuitsVis.render" in _view()._repr_html_()
    assert tried == []


def test_what_follows_a_view_is_not_inside_it() -> None:
    """circuitsvis writes `<div ... />`, which HTML reads as an opening tag: React would erase all that
    follows."""
    fragment = _view().fragment
    assert re.search(r'<div id="circuits-vis-[^"]*" style="[^"]*"></div>', fragment)
    assert fragment.count("<div") == fragment.split("<script")[0].count("</div>") + fragment.split(
        "<script", 1
    )[1].count("<div")


def test_a_view_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = _view().save(tmp_path / "look.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [p.name for p in tmp_path.iterdir()] == ["look.html"]


def test_a_view_refuses_values_that_do_not_fit() -> None:
    with pytest.raises(DataError, match=r"shape \(10, 1\) for 10 tokens and 2 labels"):
        TokenView("t", NASTY, np.zeros((10, 1)), ("a", "b"))
    with pytest.raises(NonFiniteError):
        TokenView("t", NASTY, np.full((10, 1), np.nan), ("a",))


def test_traces_are_escaped_scriptless_and_marked() -> None:
    source = traces_html(_frame(), ["f <1>", "g"])
    parsed = _parse(source)
    assert {tag for tag, _ in parsed.tags} == {"div", "style", "input", "label", "p", "span", "article", "h4"}
    assert "".join(NASTY[:6]).strip() in parsed.text.replace("plan", "")
    tokens = [attrs for tag, attrs in parsed.tags if tag == "span" and "data-v" in attrs]
    assert len(tokens) == len(NASTY)
    assert tokens[1]["class"] == "t steered"
    assert tokens[-1]["class"] == "t env"
    assert tokens[-1]["data-v"] == "f <1>: 2\ng: 0\nenv"
    assert "--a0:1.00" in tokens[-1]["style"]
    assert "style" not in tokens[0]
    assert len(source) < 10_000


def test_two_traces_of_one_page_do_not_share_their_buttons() -> None:
    first = traces_html(_frame(), ["g"])
    second = traces_html(_frame().assign(trace="another"), ["g"])
    ids = [re.findall(r'id="(rm-\w+-0)"', source) for source in (first, second)]
    assert ids[0] != ids[1]
    assert first == traces_html(_frame(), ["g"])


def test_traces_refuse_missing_columns() -> None:
    with pytest.raises(DataError, match="slip"):
        traces_html(_frame().drop(columns="slip"), ["g"])
    with pytest.raises(DataError, match="missing"):
        traces_html(_frame(), ["missing"])
    with pytest.raises(NonFiniteError):
        traces_html(_frame().assign(g=np.inf), ["g"])


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_without_network_draws_the_tokens(tmp_path: Path) -> None:
    path = tmp_path / "look.html"
    path.write_text(_view(2).html.replace("</body>", "<p id='after'>still here</p></body>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command = [
        str(CHROMIUM),
        *flags,
        "--virtual-time-budget=5000",
        f"--user-data-dir={tmp_path}/profile",
        "--dump-dom",
    ]
    done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    drawn = re.sub(r"<script.*?</script>", "", done.stdout, flags=re.S).replace("&nbsp;", " ")
    for shown in ("&lt;think&gt;", "&lt;/script&gt;", "&lt;img src=x", "still here", "sae/1", "x ‹/script›"):
        assert shown in drawn
