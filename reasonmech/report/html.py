"""Pieces of a page. Text goes through `markupsafe`, so nothing that a model wrote is ever markup."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

Row = dict[str, Any]


class Figure(NamedTuple):
    """A plotly figure with the id of its place and a sentence on how to read it."""

    id: str
    figure: Any
    caption: str


@dataclass(frozen=True)
class Section:
    """One part of the page, in reading order."""

    id: str
    heading: str
    lead: str
    figures: Sequence[Figure] = ()
    blocks: Sequence[Markup] = field(default_factory=tuple)


class Column(NamedTuple):
    """A column of a table: key in the frame, heading, and how a value is written (text when `None`)."""

    key: str
    heading: str
    write: Callable[[Any], str] | None = None


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame as plain mappings."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def percent(value: float) -> str:
    """0.983 -> "98.3 %"."""
    return "–" if pd.isna(value) else f"{100 * value:.1f} %"


def interval(low: float, high: float) -> str:
    """ "[95.1, 100.0]", in percent; "unbounded" where the ratio has no finite interval."""
    if pd.isna(low) or pd.isna(high):
        return "–"
    if low in (float("-inf"), float("inf")) or high in (float("-inf"), float("inf")):
        return "unbounded"
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def with_interval(value: float, low: float, high: float) -> str:
    """A share with its interval, in percent: "98.3 % [95.1, 100.0]"."""
    return f"{percent(value)} {interval(low, high)}"


def number(value: float) -> str:
    """Three significant digits; a dash where nothing was measured."""
    return "–" if pd.isna(value) else f"{value:.3g}"


def text(value: object) -> str:
    """Any value as text, absence as nothing."""
    return "" if value is None or (isinstance(value, float) and pd.isna(value)) else str(value)


def table(
    frame: pd.DataFrame, columns: Sequence[Column], row_class: Callable[[Row], str] | None = None
) -> Markup:
    """A frame as an HTML table, every cell escaped."""
    head = Markup("").join(
        Markup('<th class="{}">{}</th>').format("num" if column.write else "", column.heading)
        for column in columns
    )
    body = Markup("").join(
        Markup('<tr class="{}">{}</tr>').format(row_class(row) if row_class else "", _cells(row, columns))
        for row in records(frame)
    )
    return Markup(
        '<div class="scroll"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(head, body)


def _cells(row: Row, columns: Sequence[Column]) -> Markup:
    return Markup("").join(
        Markup('<td class="{}">{}</td>').format(
            "num" if column.write else "wide",
            column.write(row[column.key]) if column.write else text(row[column.key]),
        )
        for column in columns
    )


def heading(title: str) -> Markup:
    """A heading inside a section."""
    return Markup("<h3>{}</h3>").format(title)


def folded(title: str, content: str | Markup) -> Markup:
    """Preformatted text, or a table, behind a heading that opens it."""
    inside = content if isinstance(content, Markup) else Markup("<pre>{}</pre>").format(content)
    return Markup("<details><summary>{}</summary>{}</details>").format(title, inside)


def script_json(value: object) -> Markup:
    """JSON that cannot end the script element that holds it."""
    encoded = json.dumps(value, allow_nan=False)
    return Markup(encoded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
