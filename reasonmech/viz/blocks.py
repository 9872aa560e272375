"""Blocks: the parts of a feature's page, each drawn from one table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from markupsafe import Markup

from reasonmech.frames import groups, rows_where
from reasonmech.locate.feature_summary.facts import FeatureFacts
from reasonmech.viz.drawing import Curve, is_control
from reasonmech.viz.svg import draw_chart
from reasonmech.viz.theme import CONTROL, MARKS, Mark
from reasonmech.viz.traces import traces_html

SCORE_COLUMNS: Final = (
    "behaviour", "mode", "score", "unit", "value", "low", "high", "train_value", "sign", "p_adjusted", "rate",
    "n_pos", "n_neg", "n_spans",
)  # fmt: skip
EXPLORATORY: Final = "exploratory: fewer than 30 positive spans, so look, but claim nothing"


def draw_blocks(
    facts: FeatureFacts, *, linked: Collection[int], findings: Mapping[str, pd.DataFrame | None]
) -> dict[str, Markup]:
    """Part name -> HTML; parts of which nothing is known are left out.

    Args:
        linked: features that have a page of their own beside this one.
        findings: rows of this feature: "claims", "scores", "verdicts", "doses".
    """
    blocks: dict[str, Markup] = {
        "kinds": _draw_kinds(facts.kinds),
        "lens": _draw_lens(facts.lens),
        "neighbours": _draw_table(facts.neighbours, {"feature": lambda i: _link_feature(int(i), linked)}),
    }
    if len(facts.examples):
        blocks["examples"] = Markup(traces_html(_head_examples(facts.examples), ["activation"]))
    if len(facts.profile):
        charts = [_draw_profile(name, rows) for (name,), rows in groups(facts.profile, ["behaviour"])]
        blocks["profile"] = Markup('<div class="columns">{}</div>').format(Markup("").join(charts))
    for name, draw in (
        ("claims", _draw_claims),
        ("scores", _draw_scores),
        ("verdicts", _draw_verdicts),
        ("doses", _draw_doses),
    ):
        rows = findings[name]
        if rows is not None and len(rows):
            blocks[name] = draw(rows)
    return blocks


def join_columns(rows: pd.DataFrame, key: str, value: str) -> str:
    """Two columns of a feature's rows, such as claim and verdict, as a line of text."""
    return "; ".join(f"{a}: {b}" for a, b in zip(rows[key], rows[value], strict=True))


def _head_examples(examples: pd.DataFrame) -> pd.DataFrame:
    """Headings name the peak, so that nobody needs to hover for it, and say which is a median one."""
    headings = {}
    for (name,), rows in groups(examples, ["trace"]):
        peak = rows.iloc[int(rows["activation"].to_numpy().argmax())]
        where = " (median peak)" if peak["where"] == "middle" else ""
        headings[name] = f"{name}{where} · {peak['activation']:.3g} at “{str(peak['text']).strip()}”"
    return examples.assign(trace=[headings[name] for name in examples["trace"]])


def _draw_kinds(kinds: pd.DataFrame) -> Markup:
    rates = [write_share(row["rate"], row["low"], row["high"]) for row in kinds.to_dict("records")]
    shown = pd.DataFrame(
        {
            "kind": kinds["kind"],
            "fires on": rates,
            "bar": kinds["rate"],
            "mean where it fires": kinds["mean_active"],
            "tokens": kinds["n"],
        }
    )
    return _draw_table(shown, {"bar": _draw_bar})


def write_share(rate: float, low: float, high: float) -> str:
    """A share in percent with its interval, where there is one; a line breaks between the two at most."""
    interval = f" [{100 * low:.3g},\u00a0{100 * high:.3g}]" if np.isfinite([low, high]).all() else ""
    return f"{100 * rate:.3g}\u00a0%{interval}"


def _draw_profile(behaviour: str, rows: pd.DataFrame) -> Markup:
    curves = []
    for onset, mark in ((True, MARKS[0]), (False, MARKS[1])):
        offsets = rows_where(rows, rows["onset"] == onset)
        if len(offsets):
            n = int(offsets["n"].to_numpy().max())
            name = f"{behaviour} began ({n})" if onset else f"could have, and did not ({n})"
            curves.append(_curve(name, mark, offsets, x="offset"))
    return draw_chart(
        curves, x_title="tokens from the onset", y_title="mean activation (activation units)", guide=0.0
    )


def _draw_doses(rows: pd.DataFrame) -> Markup:
    charts = []
    for (behaviour, unit), panel in groups(rows, ["behaviour", "unit"]):
        curves = []
        for number, ((arm,), points) in enumerate(groups(panel, ["arm"])):
            mark = CONTROL if is_control(arm) else MARKS[number % len(MARKS)]
            curves.append(_curve(arm, mark, points.sort_values("dose"), x="dose"))
        charts.append(draw_chart(curves, x_title=f"dose ({unit})", y_title=f"share, {behaviour}", top=1.0))
    return Markup('<div class="columns">{}</div>').format(Markup("").join(charts))


def _curve(name: str, mark: Mark, rows: pd.DataFrame, *, x: str) -> Curve:
    return Curve(name, mark, *(rows[column].to_numpy(np.float64) for column in (x, "value", "low", "high")))


def _draw_lens(lens: pd.DataFrame) -> Markup:
    tables = []
    for side in ("promoted", "suppressed"):
        rows = rows_where(lens, lens["side"] == side).rename(columns={"token": side})
        tables.append(_draw_table(rows.reindex(columns=[side, "logit"]), {}))
    return Markup('<div class="columns">{}</div>').format(Markup("").join(tables))


def _draw_scores(rows: pd.DataFrame) -> Markup:
    table = _draw_table(rows.reindex(columns=[name for name in SCORE_COLUMNS if name in rows]), {})
    if "exploratory" in rows and bool(rows["exploratory"].eq(True).to_numpy().any()):
        return Markup('<p class="bad">{}</p>{}').format(EXPLORATORY, table)
    return table


def _draw_verdicts(rows: pd.DataFrame) -> Markup:
    return _draw_table(rows.reindex(columns=["attempt", "outcome", "reason"]), {"outcome": _mark_outcome})


def _draw_claims(rows: pd.DataFrame) -> Markup:
    return _draw_table(rows.reindex(columns=["claim", "verdict", "reason"]), {"verdict": _mark_outcome})


def _mark_outcome(value: object) -> Markup:
    word = str(value)
    tone = {"survives": "good", "supported": "good", "refuted": "bad"}.get(word.lower(), "")
    return Markup('<span class="{}">{}</span>').format(tone, word)


def _draw_table(frame: pd.DataFrame, write: Mapping[str, Callable[[Any], str | Markup]]) -> Markup:
    """A small table, every cell escaped; numbers with three digits unless `write` says otherwise."""
    heads = Markup("").join(
        Markup("<th>{}</th>").format("" if name == "bar" else name) for name in frame.columns
    )
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                Markup("<td>{}</td>").format(write.get(str(name), _write_plain)(value))
                for name, value in row.items()
            )
        )
        for row in frame.to_dict("records")
    )
    return Markup(
        '<div class="scroll"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(heads, body)


def _write_plain(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "–" if np.isnan(value) else f"{value:.3g}"
    return str(value)


def _draw_bar(value: float) -> Markup:
    return Markup('<span class="bar" style="width:{:.0f}px"></span>').format(220 * value)


def _link_feature(feature: int, linked: Collection[int]) -> Markup | str:
    if feature not in linked:
        return str(feature)
    return Markup('<a href="feature-{0}.html">{0}</a>').format(feature)
