"""A dashboard's pages load nothing, escape everything, link to each other, and say what was found."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import reasonmech as rm
from reasonmech.behaviours import label
from reasonmech.errors import ArgumentError, DataError, OutputError, UnknownNameError
from reasonmech.hosts import Host, ModelPair, load_host
from reasonmech.interventions import Features
from reasonmech.locate import FeatureTable
from reasonmech.locate.table import COLUMNS
from reasonmech.rollout import Trace
from reasonmech.tasks.chain import make_problem
from reasonmech.tasks.chain.parser import parse
from reasonmech.testing import tiny_coder
from reasonmech.viz import Dashboard, Findings, dashboard
from tests.unit.tasks.chain_text import CAREFUL, CARELESS, rollout

SITE = "resid_post.1"
VERDICTS = pd.DataFrame(
    [(3, "crossed", "refuted", "<script>alert(1)</script> fires on the word")],
    columns=["feature", "attempt", "outcome", "reason"],
)
CLAIMS = pd.DataFrame(
    [
        (3, "C0 the coder fits", "SUPPORTED", "recovers 0.99"),
        (3, "C1 it detects", "INCONCLUSIVE", "few spans"),
    ],
    columns=["feature", "claim", "verdict", "reason"],
)
DOSES = pd.DataFrame(
    [(3, "check", arm, dose, "multiples of the mean", dose * slope, dose * slope - 0.02, dose * slope + 0.02)
     for arm, slope in (("feature", 0.1), ("random 1", 0.01)) for dose in (1.0, 2.0)],
    columns=["feature", "behaviour", "arm", "dose", "unit", "value", "low", "high"],
)  # fmt: skip


@pytest.fixture(scope="module")
def host() -> Host:
    return load_host("organism:tiny-when/base")


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    problems = [make_problem(8, [("+", 4), ("*", 3), ("-", 1)], id=f"<b>{i}</b>") for i in range(5)]
    return [parse(rollout(text, problem=problem)) for problem in problems for text in (CAREFUL, CARELESS)]


@pytest.fixture(scope="module")
def shown(host: Host, traces: list[Trace]) -> Dashboard:
    features = Features(tiny_coder(host, SITE, k=12), (3, 11))
    labels = [label(traces, "check")]
    return dashboard(
        features, host, traces=traces, labels=labels, findings=Findings(None, VERDICTS, DOSES, CLAIMS)
    )


def test_pages_are_whole_linked_and_load_nothing(shown: Dashboard, tmp_path: Path) -> None:
    out = shown.save(tmp_path / "pages")
    assert sorted(path.name for path in out.iterdir()) == ["feature-11.html", "feature-3.html", "index.html"]
    for path in out.iterdir():
        text = path.read_text()
        assert "default-src 'none'" in text and not re.search(r"(src|href)=\"(https?:)?//", text)
        assert "<script>alert" not in text and "<b>0</b>" not in text
    index = (out / "index.html").read_text()
    assert 'href="feature-3.html"' in index and "crossed: refuted" in index and 'type="search"' in index
    page = (out / "feature-3.html").read_text()
    assert "&lt;script&gt;alert(1)" in page and page.count("<svg") == 2 and "Logit lens" in page
    assert "What may be said of it" in page and "C1 it detects: INCONCLUSIVE" in index
    assert "dose (multiples of the mean)" in page and "activation units" in page
    assert (
        page.count('text-anchor="end" font-size="11" fill="#4b5563">1</text>') == 1
    )  # shares up to 1, not up to 0.2
    assert "tried against it" in page and "What it survived" not in page  # it did not
    other = (out / "feature-11.html").read_text()
    assert other.count("<svg") == 1 and "What may be said" not in other  # no doses, no verdict, no claim
    with pytest.raises(OutputError):
        shown.save(out)


def test_in_a_notebook_the_same_parts_are_shown_inline(shown: Dashboard) -> None:
    inline = shown._repr_html_()
    assert inline.count("<details>") == 2 and "Around an onset" in inline and "<script" not in inline
    assert "feature-3.html" not in inline  # nothing to go to
    assert "index.html" not in shown.page(11)
    with pytest.raises(UnknownNameError, match="11"):
        shown.page(4)


def test_activations_are_captured_where_none_are_given(
    shown: Dashboard, host: Host, traces: list[Trace]
) -> None:
    features = Features(tiny_coder(host, SITE, k=12), (3, 11))
    acts = rm.capture(host, [t.rollout for t in traces], [SITE], progress=False)
    dashboard_of_traces = rm.dashboard(features, host, traces=traces, acts=acts)
    assert [f.rate for f in dashboard_of_traces.facts] == [
        f.rate for f in shown.facts
    ] and dashboard_of_traces.facts[0].rate > 0


def test_missing_columns_and_missing_texts_are_named(host: Host, traces: list[Trace]) -> None:
    features = Features(tiny_coder(host, SITE), (3,))
    with pytest.raises(DataError, match="verdicts without column reason"):
        dashboard(features, host, traces=traces, findings=Findings(verdicts=VERDICTS.drop(columns="reason")))
    with pytest.raises(DataError, match="no trace"):
        dashboard(features, host, traces=[])


def test_the_examples_name_their_peak_so_that_nobody_needs_to_hover(shown: Dashboard) -> None:
    strongest = max(shown.facts, key=lambda facts: facts.peak)
    first = strongest.examples[strongest.examples["trace"] == strongest.examples["trace"].iloc[0]]
    best = first.loc[first["activation"].idxmax()]
    page = shown.page(strongest.feature)
    assert f"{best['activation']:.3g} at “{str(best['text']).strip()}”" in unescape(page)


def test_a_feature_that_only_the_environment_wakes_is_not_called_silent(
    shown: Dashboard, tmp_path: Path
) -> None:
    woken = replace(shown.facts[0], rate=0.0, mean_active=0.0, peak=0.0, environment_rate=0.25)
    silent = replace(woken, feature=12, environment_rate=0.0, examples=woken.examples.iloc[:0])
    board = replace(shown, facts=(woken, silent))
    assert "only tokens that the environment wrote" in board.page(3) and "never fires" not in board.page(3)
    assert "never fires" in board.page(12)
    index = (board.save(tmp_path / "pages") / "index.html").read_text()
    assert "environment only" in index and "never fires" in index


def test_the_kind_it_fires_in_most_often_is_not_one_that_was_hardly_seen(
    shown: Dashboard, tmp_path: Path
) -> None:
    kinds = pd.DataFrame(
        [("other", 1 / 6, float("nan"), float("nan"), 2.0, 6), ("backtrack", 0.14, 0.11, 0.17, 2.0, 894)],
        columns=["kind", "rate", "low", "high", "mean_active", "n"],
    )
    board = replace(shown, facts=(replace(shown.facts[0], kinds=kinds),))
    index = (board.save(tmp_path / "pages") / "index.html").read_text().replace("\u00a0", " ")
    assert "backtrack, 14 % [11, 17]" in index and "<td>other" not in index
    page = board.page(3).replace("\u00a0", " ")
    assert "14 % [11, 17]" in page and "<td>16.7 %</td>" in page


def test_a_score_says_its_unit_and_whether_it_is_exploratory(shown: Dashboard) -> None:
    row: dict[str, Any] = dict.fromkeys(COLUMNS, 0.5) | {"feature": 3, "score": "auroc", "unit": "AUROC"}
    frame = pd.DataFrame([row | {"n_spans": 12, "exploratory": True}])
    page = replace(shown, findings=Findings(FeatureTable(frame))).page(3)
    assert "<td>AUROC</td>" in page and "fewer than 30 positive spans" in page
    claimed = FeatureTable(frame.assign(exploratory=False))
    assert "fewer than 30" not in replace(shown, findings=Findings(claimed)).page(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": (3, 11)}, r"Features\(coder, \(3, 11\)\)"),
        ({"features": "HOST", "host": "FEATURES"}, r"rm\.dashboard\(features, host"),
        ({"host": "PAIR"}, r"pair\.base"),
        ({"traces": "ROLLOUTS"}, r"parse\(rollouts\)"),
        ({"traces": "check , redo :"}, r"traces is the string.*\n.*\n.*parse\(rollouts\)"),
        ({"acts": 5}, r"acts is the integer 5"),
        ({"labels": "LABELS"}, r"\[labels\]"),
        ({"labels": [5]}, r"labels\[0\] is the integer 5"),
        ({"findings": VERDICTS}, r"Findings\("),
        ({"findings": Findings(VERDICTS)}, "table"),  # pyright: ignore[reportArgumentType]
        ({"findings": Findings(doses=[1])}, "doses"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_an_argument_of_the_wrong_type_is_named_with_the_right_one(
    host: Host, traces: list[Trace], change: dict[str, Any], message: str
) -> None:
    features = Features(tiny_coder(host, SITE), (3,))
    values: dict[str, Any] = {
        "HOST": host,
        "FEATURES": features,
        "PAIR": ModelPair("p", host, host),
        "ROLLOUTS": [trace.rollout for trace in traces],
        "LABELS": label(traces, "check"),
    }
    arguments: dict[str, Any] = {"features": features, "host": host, "traces": traces} | change
    for name, value in change.items():
        if isinstance(value, str) and value in values:
            arguments[name] = values[value]
    with pytest.raises(ArgumentError, match=message):
        dashboard(arguments.pop("features"), arguments.pop("host"), **arguments)


def test_one_trace_is_one_not_its_words(host: Host, traces: list[Trace]) -> None:
    features = Features(tiny_coder(host, SITE), (3,))
    assert dashboard(features, host, traces=traces[0]).n_texts == 1  # pyright: ignore[reportArgumentType]
