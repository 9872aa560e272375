"""The report in a real browser with the network off: no request, no error, every figure drawn."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import websocket

from reasonmech.report import report
from tests.made_run import NASTY, make_run

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM HERE: the report was not checked in a browser"),
]


class Browser:
    """One page of a headless Chromium over the DevTools protocol, every event kept."""

    def __init__(self, address: str) -> None:
        self.socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        self.events: list[dict[str, Any]] = []
        self._number = 0

    def call(self, method: str, **params: object) -> dict[str, Any]:
        self._number += 1
        self.socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def run(self, script: str) -> Any:
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, path: Path) -> None:
        for domain in ("Network", "Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        self.call("Page.navigate", url=path.resolve().as_uri())
        for _ in range(300):
            if self.run("document.documentElement?.dataset.ready === 'yes'"):
                return
            time.sleep(0.1)
        raise AssertionError("the page did not become ready")

    def requests(self) -> list[str]:
        sent = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def complaints(self) -> list[str]:
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(params))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(str(params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(str(params["entry"]))
        return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    profile = tmp_path_factory.mktemp("chromium")
    assert CHROMIUM is not None
    process = subprocess.Popen(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-port=0",
            "--window-size=1280,900",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        stderr=subprocess.DEVNULL,
    )
    port_file = profile / "DevToolsActivePort"
    for _ in range(300):
        if port_file.exists() and port_file.read_text().count("\n"):
            break
        time.sleep(0.1)
    port = port_file.read_text().splitlines()[0]
    pages = json.loads(urlopen(f"http://127.0.0.1:{port}/json/list").read())
    yield Browser(next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"))
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def opened(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    browser.open(report(make_run(tmp_path_factory.mktemp("runs") / "made")))
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
    marks = opened.run("[...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('path.point').length)")
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
