"""Names (of conditions, pairs, features, files) that would act on a page, terminal or figure do nothing."""

from __future__ import annotations

import functools
import io
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch

import reasonmech as rm
from reasonmech import viz
from reasonmech.cli.console import make_console
from reasonmech.coders import CoderConfig, train_coders
from reasonmech.coders.source import TensorSource
from reasonmech.experiments import Run, load_run
from reasonmech.printable import printable
from reasonmech.report import receipts, render, report, summary
from reasonmech.site import Site
from reasonmech.testing import tiny_coder, tiny_host
from reasonmech.viz import Findings, dashboard
from reasonmech.viz.findings import DOSE_COLUMNS
from tests.copied_run import copy_run
from tests.made_run import make_run
from tests.unit.cli.test_cli import command

HOSTILE = {
    "escape": "\x1b[31mred\x1b]8;;http://x.y\x07link\x1b]8;;\x07",
    "controls": "a\x00\x08\x9b31m\x7fb",
    "rich markup": "[red]a[/red][link=http://x.y]z[/link]",
    "an image": "<img src=x onerror=alert(1)>",
    "a script": "</script><script>alert(1)</script>",
    "a link": "<A HREF='javascript:alert(1)'>z</A>",
    "attributes": '" onmouseover="alert(1)" x=\'',
    "a formula": r"$\href{javascript:alert(1)}{z}$",
    "a template": "{{ 7 * 7 }}%{customdata[0]}",
    "lines": "a\nb\r\nc\rd\u2028e\u0085f",
    "reordered": "\u202egpj.exe\u2066x\u2069",
    "long": "n" * 300,
}
names = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
DROPPED = str.maketrans("", "", "\x07\x08\x0b\x0c\r")  # by rich, from every text
STYLES = re.compile(r"\x1b\[[0-9;]*m")  # what a console writes for its own colours


class Elements(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self._code = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._code = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._code = False

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def assert_harmless(page: str, name: str, *, clean: str) -> None:
    """`page`, which shows `name`, has no kind of tag, attribute or link that `clean` has not."""
    shown, plain = Elements(page), Elements(clean)
    assert set(shown.tags) <= set(plain.tags), "a tag of the name's"
    assert shown.tags.count("script") == plain.tags.count("script")
    assert {key for key, _ in shown.attributes} <= {key for key, _ in plain.attributes}
    links = [value for key, value in shown.attributes if key in ("href", "src")]
    assert all(link.startswith(("#", "data:", "feature-", "index.html")) for link in links)
    written = " ".join([shown.text, *(value for _, value in shown.attributes)])
    assert not ACTING.search(written)
    assert printable(name) in shown.text, "the name is not shown: nothing was tried"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to be copied: to make one takes longer than most tests here."""
    return make_run(tmp_path_factory.mktemp("clean") / "made").path


@pytest.fixture(scope="module")
def hostile_runs(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """One for all tests of a name: nothing but `report` writes into it."""
    return functools.cache(lambda name: hostile_run(made, tmp_path_factory.mktemp("hostile") / "made", name))


def hostile_run(made: Path, path: Path, name: str) -> Run:
    """A finished run whose conditions, pair, behaviour, traces, features and notes have that name."""
    run = copy_run(made, path)
    swap = {"condition": {"full": name}, "behaviour": {"check": name}, "coder": {"topk": name}}
    for file in ("results.parquet", "features.parquet"):
        pd.read_parquet(run.path / file).replace(swap).to_parquet(run.path / file)
    traces = pd.read_parquet(run.path / "traces.parquet").assign(trace=name)
    traces.rename(columns={"check: 14 <script>": f"{name}: 14"}).to_parquet(run.path / "traces.parquet")

    def named(record: dict[str, Any]) -> dict[str, Any]:
        swapped = {"full": name, "check": name, "made/base": name, "made": name}
        kept = {key: swapped.get(value, value) if isinstance(value, str) else value
                for key, value in record.items()}  # fmt: skip
        return {name if key == "full" else key: value for key, value in kept.items()}

    record = json.loads((run.path / "record.json").read_text(), object_hook=named)
    record |= {"notes": [name], "question": name}
    (run.path / "record.json").write_text(json.dumps(record))
    return load_run(run.path)


@pytest.fixture(scope="module")
def clean_page(made: Path) -> str:
    return render(load_run(made))


@names
def test_the_page_of_a_run(name: str, clean_page: str, hostile_runs: Callable[[str], Run]) -> None:
    page = report(hostile_runs(name)).read_text()
    assert_harmless(page, name, clean=clean_page)
    figures = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    assert figures is not None
    assert_figure_is_harmless(json.loads(figures[1]), name)


@names
def test_the_terminal(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hostile_runs: Callable[[str], Run],
) -> None:
    run = hostile_runs(name)
    monkeypatch.setenv("COLUMNS", "2000")
    assert command(monkeypatch, "show", str(run.path), "--receipts") == 0
    shown = capsys.readouterr().out
    assert printable(name.translate(DROPPED)).split("\n")[0] in shown and not ACTING.search(shown)
    for what in (["show"], ["run"], ["check", "demo", "--set"], ["steer"], ["organisms", "card"], ["judge"]):
        assert command(monkeypatch, *what, name) == 2
        complaint = capsys.readouterr().err
        assert complaint and not ACTING.search(complaint) and "Traceback" not in complaint


@names
def test_a_coloured_terminal_has_no_colours_but_ours(name: str, hostile_runs: Callable[[str], Run]) -> None:
    run, console = hostile_runs(name), make_console()
    console.file, console._force_terminal, console.width = io.StringIO(), True, 2000
    console.print(summary(run))
    console.print(receipts(run))
    written = console.file.getvalue()
    assert STYLES.search(written) or console.color_system is None
    text = STYLES.sub("", written)
    assert printable(name.translate(DROPPED)).split("\n")[0] in text and not ACTING.search(text)


@names
def test_a_file_of_that_name(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made: Path, tmp_path: Path
) -> None:
    folder = tmp_path / name.replace("/", "|").replace("\0", "")[:200]
    run = copy_run(made, folder)
    assert command(monkeypatch, "show", str(run.path)) == 0
    assert not ACTING.search(capsys.readouterr().out)
    page = (run.path / "report.html").read_text()  # `show` writes it where none is
    assert not ACTING.search(Elements(page).text) and Elements(page).tags.count("img") == 0
    for refused in (lambda: rm.load_host(folder), lambda: rm.run("demo", out=folder)):
        with pytest.raises(rm.errors.ReasonmechError) as caught:
            refused()
        assert not ACTING.search(str(caught.value))


def test_a_model_that_writes_commands_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model writes goes to the terminal of `reasonmech steer`, and into a view of its tokens."""
    from reasonmech.report import sidebyside

    evil = HOSTILE["escape"] + HOSTILE["reordered"] + HOSTILE["rich markup"]
    host = tiny_host()
    decode = type(host).decode
    monkeypatch.setattr(type(host), "decode", lambda self, ids: evil + decode(self, ids))
    console = make_console()
    console.file, console.width = io.StringIO(), 2000
    coder = tiny_coder(host)
    plan = [rm.steer(rm.Features(coder, (1,)), 4.0)]
    console.print(sidebyside.compare(host, [f"w1 {evil}"], plan, decode=rm.Decode(max_new_tokens=2)))
    written = STYLES.sub("", console.file.getvalue())
    assert printable(evil.translate(DROPPED)) in written and not ACTING.search(written)


def pages_naming(word: str, folder: Path) -> dict[str, str]:
    host = rm.load_host("organism:tiny-when/base")
    object.__setattr__(host, "name", word)
    coder = tiny_coder(host, "resid_post.1", k=12)
    task = rm.load_task("chain", n=2)
    traces = rm.parse(rm.generate(host, task, decode=rm.Decode(max_new_tokens=60), progress=False))
    frames = [
        pd.DataFrame([(3, word, word, word)], columns=["feature", "attempt", "outcome", "reason"]),
        pd.DataFrame([(3, word, word, word)], columns=["feature", "claim", "verdict", "reason"]),
    ]
    doses = pd.DataFrame([(3, word, word, 1.0, word, 0.5, 0.4, 0.6)], columns=DOSE_COLUMNS)
    findings = Findings(None, frames[0], doses, frames[1])
    made = dashboard(rm.Features(coder, (3, 11)), host, traces=traces, findings=findings)
    out = made.save(folder)
    view = viz.TokenView(word, (word, "b"), np.ones((2, 2)), (word, "other"))
    frame = pd.DataFrame(
        {"trace": word, "text": word, "onset": word, word: 1.0, "offset": [0]}
        | dict.fromkeys(("environment", "steered", "slip"), False)
    )
    return {file.name: file.read_text() for file in out.iterdir()} | {
        "view": view.html,
        "inline": made._repr_html_(),
        "traces": viz.traces_html(frame, [word]),
    }


@pytest.fixture(scope="module")
def clean_pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return pages_naming("plain", tmp_path_factory.mktemp("clean") / "pages")


@names
def test_views_and_dashboards(name: str, clean_pages: dict[str, str], tmp_path: Path) -> None:
    clean, shown = clean_pages, pages_naming(name, tmp_path / "pages")
    assert {"index.html", "feature-3.html"} < shown.keys() == clean.keys()
    for page, text in shown.items():
        assert_harmless(text, name, clean=clean[page])
    script = shown["view"].split("<script", 1)[1]
    assert "<img" not in script and "alert(1)</" not in script and "javascript:alert(1)'>" not in script


def test_features_do_nothing_through_their_coder(tmp_path: Path) -> None:
    with pytest.raises(rm.errors.ConfigError):
        train_coders(rows(), {"a\x1b[31m": topk()}, out=tmp_path / "coders", progress=False)


def rows() -> TensorSource:
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    return TensorSource(x, (Site("resid_post", 0),), "made", "0")


def topk() -> CoderConfig:
    return CoderConfig(architecture="topk", d_sae=8, steps=20, batch_size=32, k=2)


def trained(name: str) -> list[Any]:
    return list(train_coders(rows(), {name: topk()}, progress=False).values())


def frame(columns: str, *values: object) -> pd.DataFrame:
    return pd.DataFrame([values], columns=columns.split())


INTERVAL = "estimate low high"
FIGURES: dict[str, Callable[[str], go.Figure]] = {
    "audit_scatter": lambda n: viz.audit_scatter(
        frame("site feature group estimate exact metric unit", n, 3, "top", 0.5, 0.4, n, n), note=n
    ),
    "budget_curves": lambda n: viz.budget_curves(
        frame("writer ranking token tokens accuracy accuracy.low accuracy.high", n, n, n, 1.0, 0.5, 0.4, 0.6)
    ),
    "steering_places": lambda n: viz.steering_places(frame("condition offset n_tokens", n, 3, 9)),
    "dial_curves": lambda n: viz.dial_curves(
        frame("factor other share accuracy low high", "onset", n, 0.5, 0.5, 0.4, 0.6)
    ),
    "dose_curves": lambda n: viz.dose_curves(
        frame("behaviour place arm dose value low high", n, n, n, 1.0, 0.5, 0.4, 0.6), dose=n
    ),
    "effect_parts": lambda n: viz.effect_parts(
        frame(
            "site position metric unit direction total total_low total_high direct direct_low direct_high "
            "indirect indirect_low indirect_high",
            *(n, n, n, n, "noise", 1.0, 0.9, 1.1, 0.5, 0.4, 0.6, 0.5, 0.4, 0.6),
        )
    ),
    "faithfulness_curves": lambda n: viz.faithfulness_curves(
        frame(
            "group control n error patched metric unit share share_low share_high",
            *(n, False, 4, "keep", "group", n, n, 0.5, 0.4, 0.6),
        ),
        note=n,
    ),
    "feature_table": lambda n: viz.feature_table(
        frame(
            "behaviour mode site kind feature unit value low high source",
            *(n, n, n, "feature", 3, n, 0.8, 0.7, 0.9, n),
        )
    ),
    "gap_by_factor": lambda n: viz.gap_by_factor(frame(f"factor decoding {INTERVAL}", n, n, 0.5, 0.4, 0.6)),
    "arm_among_draws": lambda n: viz.arm_among_draws(
        frame("null accuracy", n, 0.5), frame("null accuracy q95 q95.low q95.high", n, 0.9, 0.5, 0.4, 0.6)
    ),
    "patch_heatmap": lambda n: viz.patch_heatmap(
        frame(
            "site kind position metric unit direction normalised normalised_low normalised_high",
            *(f"resid.{n}", n, n, n, n, "noise", 0.5, 0.4, 0.6),
        )
    ),
    "recovery_by_arm": lambda n: viz.recovery_by_arm(frame(f"arm {INTERVAL} steered", n, 0.5, 0.4, 0.6, 0.1)),
    "sweep_curves": lambda n: viz.sweep_curves(sweep(n)),
    "sweep_map": lambda n: viz.sweep_map(sweep(n)),
    "training_curves": lambda n: viz.training_curves(trained(n)),
    "value_by_site": lambda n: viz.value_by_site(
        frame(
            "behaviour mode site kind feature unit value low high train_value",
            *(n, n, n, "feature", 3, n, 0.8, 0.7, 0.9, 0.8),
        )
    ),
}


def sweep(name: str) -> pd.DataFrame:
    columns = "axis verb amount where seed metric unit effect effect_low effect_high"
    return frame(columns, name, name, 1.0, name, None, name, name, 0.5, 0.4, 0.6).astype({"seed": "Int64"})


def assert_figure_is_harmless(drawn: object, name: str) -> None:
    """No text of a figure is a tag of another kind than ours, a formula or a control; `name` is in one."""
    texts = list(strings(drawn))
    assert not [text for text in texts if re.search(r"<(?!/?(b|br|extra)\s*/?>)", text)]
    assert not [text for text in texts if text.count("$") > 1 or ACTING.search(text)]
    shown = printable(name).replace("<", "&lt;").replace("$", "&#36;")
    assert any(shown in text for text in texts), "the name is not shown: nothing was tried"


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list | tuple | np.ndarray):
        for inner in value:
            yield from strings(inner)


@names
@pytest.mark.parametrize("figure", [name for name in FIGURES if name != "training_curves"])
def test_a_figure_in_a_notebook(figure: str, name: str) -> None:
    drawn = FIGURES[figure](name)
    assert_figure_is_harmless(json.loads(str(drawn.to_json())), name)


def test_training_curves_name_their_coders_as_text() -> None:
    """A coder's name is that of a folder, where controls are refused."""
    drawn = FIGURES["training_curves"]("<img src=x onerror=alert(1)>")
    assert_figure_is_harmless(json.loads(str(drawn.to_json())), "<img src=x onerror=alert(1)>")


def test_every_figure_is_tried() -> None:
    drawing = {
        name for name in viz.__all__ if "go.Figure" in str(getattr(viz, name).__annotations__.get("return"))
    }
    assert drawing == FIGURES.keys()
