"""Traces as light HTML: hoverable tokens, coloured by a feature that the reader picks; no script at all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from reasonmech.door import checked
from reasonmech.errors import DataError, NonFiniteError
from reasonmech.locate.feature_summary.tokens import CONTINUED, TOKEN_COLUMNS
from reasonmech.viz.pages import as_html

STYLE = """
.rm-traces { font: 15px/2.1 Inter, 'Segoe UI', Helvetica, Arial, sans-serif; color: #1b1f24;
  background: white; }
.rm-traces > input { position: absolute; opacity: 0; }
.rm-traces > label { display: inline-block; line-height: 1.5; padding: 2px 10px; margin: 2px 4px 2px 0;
  border: 1px solid #9aa1aa; border-radius: 4px; cursor: pointer; font-size: 13px; }
.rm-traces > input:checked + label { background: #1b1f24; color: white; }
.rm-traces > input:focus-visible + label { outline: 3px solid #56B4E9; }
.rm-traces .key { font-size: 13px; line-height: 1.6; color: #4b5563; margin: 8px 0; }
.rm-traces .key .t { white-space: nowrap; }
.rm-traces h4 { margin: 14px 0 0; font-size: 14px; line-height: 1.4; }
.rm-traces .words { white-space: pre-wrap; margin: 0; padding-right: 7em; overflow-wrap: anywhere; }
.rm-traces .t { position: relative; background: rgba(0, 114, 178, calc(var(--a, 0) * 0.55));
  border-bottom: calc(var(--a, 0) * 5px) solid #0072B2; }
.rm-traces .t[data-v]:hover::after { content: attr(data-v); position: absolute; left: 0; top: 100%;
  z-index: 9; white-space: pre; background: #1b1f24; color: white; font-size: 12px; line-height: 1.5;
  padding: 4px 8px;
  border-radius: 4px; pointer-events: none; }
@media (max-width: 700px) {
  .rm-traces .words { padding-right: 0; }
  .rm-traces .t[data-v]:hover::after { position: fixed; left: 8px; top: auto; bottom: 8px; }
}
.rm-traces .env { font-style: italic; color: #6b3d00; }
.rm-traces .slip { outline: 2px dashed #D55E00; outline-offset: 1px; }
.rm-traces .steered { border-top: 3px double #009E73; }
.rm-traces .tag { font-size: 10.5px; font-weight: 600; letter-spacing: 0.02em; padding: 1px 4px;
  margin: 0 2px 0 5px; border-radius: 3px; background: #e6e8eb;
  color: #374151; white-space: nowrap; user-select: none; }
.rm-traces .tag.slipped { background: #D55E00; color: white; }
"""
KEY = (
    '<p class="key">Hover a token for its activations; shade and bar height show the chosen feature. '
    '<span class="tag">kind</span> a sentence of that kind begins · '
    '<span class="t env">written by the environment</span>'
    ' · <span class="t slip">a slip</span> · <span class="t steered">steered</span></p>'
)


@checked
def traces_html(frame: pd.DataFrame, features: Sequence[str]) -> str:
    """A fragment of HTML that shows traces token by token; everything in it is escaped, and it loads nothing.

    Args:
        frame: rows of `reasonmech.locate.feature_summary.tokens.token_frame`, of one or more traces.
        features: activation columns to offer, the first one shown at once; shades are relative to a column's
            maximum.

    Raises:
        DataError: a column is missing, or there is no row.
        NonFiniteError: an activation is NaN or infinite.
    """
    if missing := [name for name in (*TOKEN_COLUMNS, *features) if name not in frame]:
        raise DataError(f"traces need columns {', '.join(missing)}", allowed=", ".join(TOKEN_COLUMNS))
    if frame.empty or not features:
        raise DataError(
            f"{len(frame)} tokens and {len(features)} features to show", do="give at least one of each"
        )
    values = frame[list(features)].to_numpy(np.float64)
    if not np.isfinite(values).all():
        raise NonFiniteError("a trace with NaN or infinite activations", do="check the activations")
    peaks = values.max(0).clip(min=1e-12)
    uid = "rm-" + hashlib.sha256(frame.to_csv().encode()).hexdigest()[:10]
    picks, rules = [], []
    for i, (name, peak) in enumerate(zip(features, values.max(0), strict=True)):
        chosen = " checked" if i == 0 else ""
        picks.append(f'<input type="radio" name="{uid}" id="{uid}-{i}"{chosen}>')
        picks.append(f'<label for="{uid}-{i}">{as_html(name)} (max {peak:.3g})</label>')
        rules.append(f"#{uid}-{i}:checked ~ article .t {{ --a: var(--a{i}, 0); }}")
    articles = []
    for name, rows in frame.assign(_row=np.arange(len(frame))).groupby("trace", sort=False):
        words = "".join(_word(row, values[row["_row"]], peaks, features) for row in rows.to_dict("records"))
        articles.append(f'<article><h4>{as_html(name)}</h4><p class="words">{words}</p></article>')
    style = f"<style>{STYLE}{' '.join(rules)}</style>"
    return f'<div class="rm-traces">{style}{"".join(picks)}{KEY}{"".join(articles)}</div>'


def _word(row: dict[str, object], values: np.ndarray, peaks: np.ndarray, features: Sequence[str]) -> str:
    marks = [
        css for css, flag in (("env", "environment"), ("slip", "slip"), ("steered", "steered")) if row[flag]
    ]
    shade = ";".join(f"--a{i}:{v:.2f}" for i, v in enumerate((values / peaks).clip(0, 1)) if v >= 0.005)
    lines = [f"{name}: {value:.3g}" for name, value in zip(features, values, strict=True)]
    hover = as_html("\n".join([*lines, *marks])).replace("\n", "&#10;")
    tag = f'<span class="tag">{as_html(row["onset"])}</span>' if row["onset"] else ""
    slip = '<span class="tag slipped">slip</span>' if row["slip"] else ""
    style = f' style="{shade}"' if shade else ""
    body = as_html(row["text"]) or CONTINUED
    return f'{tag}<span class="{" ".join(["t", *marks])}"{style} data-v="{hover}">{body}</span>{slip}'
