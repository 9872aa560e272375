"""Small charts as SVG text, for pages of which there are hundreds: a plotly figure would add 4 MB to each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from markupsafe import Markup

from reasonmech.errors import DataError
from reasonmech.viz.drawing import Curve
from reasonmech.viz.theme import GREY, PALE, Mark

WIDTH: Final = 520
HEIGHT: Final = 210
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34
DASHES: Final = {  # as in plotly
    "solid": "",
    "dash": "7 4",
    "dot": "2 4",
    "dashdot": "7 4 2 4",
    "longdash": "11 4",
    "longdashdot": "11 4 2 4",
}


def draw_chart(
    curves: Sequence[Curve],
    *,
    x_title: str,
    y_title: str,
    guide: float | None = None,
    top: float | None = None,
) -> Markup:
    """Curves with bands, axes from zero (or the lowest value below it), and a legend in words.

    Args:
        guide: x of a vertical line.
        top: upper end of the y axis; None: the largest value.

    Raises:
        DataError: no curve, or one without points.
    """
    if not curves or any(len(curve.x) == 0 for curve in curves):
        raise DataError("a chart of no points", do="leave the chart out")
    xs = np.concatenate([curve.x for curve in curves]).astype(np.float64)
    ys = np.concatenate([np.r_[curve.y, curve.low, curve.high] for curve in curves]).astype(np.float64)
    ys = ys[np.isfinite(ys)]
    frame = _Frame(float(xs.min()), float(xs.max()), min(0.0, float(ys.min())), top or float(ys.max()) or 1.0)
    parts = [_draw_axes(frame, x_title, y_title)]
    if guide is not None and frame.left <= guide <= frame.right:
        x = frame.x(guide)
        parts.append(_draw_line(x, TOP, x, HEIGHT - BOTTOM, GREY, "4 3"))
    parts += [_draw_curve(curve, frame) for curve in curves]
    legend = Markup("").join(
        Markup('<span style="color:{}">{} {}</span> ').format(
            curve.mark.colour, _dash_sign(curve.mark), curve.name
        )
        for curve in curves
    )
    chart = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, f"{y_title} against {x_title}", Markup("").join(parts)
    )
    return Markup('<figure class="rm-chart">{}<figcaption>{}</figcaption></figure>').format(chart, legend)


class _Frame(NamedTuple):
    """Data coordinates to pixels."""

    left: float
    right: float
    bottom: float
    top: float

    def x(self, value: float) -> float:
        span = (self.right - self.left) or 1.0
        return LEFT + (value - self.left) / span * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        span = (self.top - self.bottom) or 1.0
        return HEIGHT - BOTTOM - (value - self.bottom) / span * (HEIGHT - TOP - BOTTOM)


def _draw_curve(curve: Curve, frame: _Frame) -> Markup:
    known = np.isfinite(curve.low) & np.isfinite(curve.high)
    upper = [
        f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(curve.x[known], curve.high[known], strict=True)
    ]
    lower = [
        f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(curve.x[known], curve.low[known], strict=True)
    ]
    band = Markup('<polygon points="{}" fill="{}" opacity="0.18"/>').format(
        " ".join([*upper, *reversed(lower)]), curve.mark.colour
    )
    points = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
    stroke = Markup(
        '<polyline points="{}" fill="none" stroke="{}" stroke-width="2" stroke-dasharray="{}"/>'
    ).format(points, curve.mark.colour, DASHES[curve.mark.dash])
    dots = Markup("").join(
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"><title>{}</title></circle>').format(
            frame.x(x), frame.y(y), curve.mark.colour, f"{curve.name}, {x:g}: {y:.3g} [{low:.3g}, {high:.3g}]"
        )
        for x, y, low, high in zip(curve.x, curve.y, curve.low, curve.high, strict=True)
    )
    return (band if known.any() else Markup("")) + stroke + dots


def _draw_axes(frame: _Frame, x_title: str, y_title: str) -> Markup:
    low, high = HEIGHT - BOTTOM, TOP
    parts = [_draw_line(LEFT, low, WIDTH - RIGHT, low, PALE, ""), _draw_line(LEFT, low, LEFT, high, PALE, "")]
    for value in np.linspace(frame.left, frame.right, 5):
        parts.append(_draw_text(frame.x(value), low + 14, f"{value:.3g}", "middle"))
    for value in np.linspace(frame.bottom, frame.top, 3):
        parts.append(_draw_text(LEFT - 5, frame.y(value) + 4, f"{value:.2g}", "end"))
    parts.append(_draw_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, x_title, "middle"))
    parts.append(_draw_text(LEFT + 4, TOP + 8, y_title, "start"))
    return Markup("").join(parts)


def _draw_line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str) -> Markup:
    return Markup(
        '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}" stroke-dasharray="{}"/>'
    ).format(x1, y1, x2, y2, colour, dash)


def _draw_text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup(
        '<text x="{:.1f}" y="{:.1f}" text-anchor="{}" font-size="11" fill="#4b5563">{}</text>'
    ).format(x, y, anchor, text)


def _dash_sign(mark: Mark) -> str:
    """A curve's dash as a character, so that colour is never alone."""
    return {"solid": "━", "dash": "╍", "dot": "┈"}.get(mark.dash, "┅")
