"""Text in figures: plotly reads tags and formulas in titles, ticks and hovers; no name becomes one."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, ParamSpec

import numpy as np
import plotly.graph_objects as go

from reasonmech.printable import printable

P = ParamSpec("P")

TAGS: Final = ("b", "br", "extra")  # of plotly's, that figures use; they load and link nothing
_OTHER_TAG: Final = re.compile(rf"<(?!/?(?:{'|'.join(TAGS)})\s*/?>)", re.IGNORECASE)
_FORMULA: Final = "$"  # MathJax, where a notebook has loaded it, makes links of `\href` between two of them


def names_as_text(draw: Callable[P, go.Figure]) -> Callable[P, go.Figure]:
    """`draw`, whose figures hold no name that is a link, a style, a formula or a control."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> go.Figure:
        figure = draw(*args, **kwargs)
        parts: list[Any] = [*figure.data, figure.layout]
        for part in parts:
            part.update(without_markup(part.to_plotly_json()), overwrite=True)
        return figure

    return drawn


def without_markup(value: Any) -> Any:
    """Parts of a figure, with every text in them as text. The tags that figures themselves are written with
    (`TAGS`) stay."""
    match value:
        case str():
            return _OTHER_TAG.sub("&lt;", printable(value)).replace(_FORMULA, "&#36;")
        case list() | tuple():
            return [without_markup(item) for item in value]
        case dict():
            return {key: without_markup(item) for key, item in value.items()}
        case np.ndarray() if value.dtype.kind in "OUST":
            return without_markup(value.tolist())
    return value
