"""TokenView: tokens coloured by activation, as a page that opens anywhere, offline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from reasonmech.door import checked
from reasonmech.errors import DataError, NonFiniteError
from reasonmech.files import save_text
from reasonmech.locate.feature_summary.tokens import CONTINUED
from reasonmech.printable import printable
from reasonmech.viz.pages import as_html

_OPEN_DIV = (
    'style="margin: 15px 0;"/>'  # circuitsvis leaves its div open: all that follows would vanish into it
)


@checked
@final
@dataclass(frozen=True, eq=False)
class TokenView:
    """Tokens with one or more values each; hover a token to read them, click a label to colour by it.

    Drawn by CircuitsVis from its local source: displaying makes no network call (its own display opens
    google.com) and the page loads nothing. Tokens are escaped, so `<think>` is shown and `</script>` ends
    nothing.

    Attributes:
        title: heads the view.
        pieces: [token] text of each token, blanks included. One without text (it holds the rest of a
            character, or of what is drawn as one, that an earlier token began) is drawn as "⋯".
        values: [token, value] activation units (features) or residual-norm units (a direction).
        labels: [value] what each value is.
        sinks: tokens that the shades are not scaled by: one of two hundred times the others' norm would leave
            these blank. They have the fullest shade, and their numbers as they are.
    """

    title: str
    pieces: tuple[str, ...]
    values: np.ndarray
    labels: tuple[str, ...]
    sinks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.pieces), len(self.labels)) or not self.labels or not self.pieces:
            raise DataError(
                f"values of shape {self.values.shape} for {len(self.pieces)} tokens and {len(self.labels)} "
                "labels",
                do="give values [token, label], at least one of each",
            )
        if not np.isfinite(self.values).all():
            raise NonFiniteError("a token view with NaN or infinite values", do="check the activations")

    @property
    def fragment(self) -> str:
        """HTML for a page that exists already: a heading and the view, its JavaScript inlined (1.3 MB)."""
        from circuitsvis.utils.render import render

        tokens = [as_html(piece) or CONTINUED for piece in self.pieces]
        low, high = self._bounds()
        if len(self.labels) == 1:
            values = self.values[:, 0].tolist()
            rendered = render(
                "ColoredTokens", tokens=tokens, values=values, minValue=low[0], maxValue=high[0]
            )
        else:
            rendered = render(
                "ColoredTokensMulti",
                tokens=tokens,
                values=self.values.tolist(),
                labels=[_plain(label) for label in self.labels],
                positiveBounds=high,
                negativeBounds=low,
            )
        source = rendered.local_src.replace(_OPEN_DIV, _OPEN_DIV.replace("/>", "></div>"), 1)
        caption = " · ".join(
            (as_html(self.title), as_html(", ".join(self.labels)), f"max {self.values.max():.3g}")
        )
        if self.sinks:
            caption += f" · shades from {min(low):.3g} to {max(high):.3g}: {self._sinks_named()} beyond"
        heading = f'<figcaption style="font: 14px sans-serif">{caption}</figcaption>'
        return f'<figure style="margin: 0">{heading}{source}</figure>'

    def _bounds(self) -> tuple[list[float], list[float]]:
        """Of each value, the numbers with the fullest shade of either colour."""
        others = np.delete(self.values, self.sinks, axis=0) if self.sinks else self.values
        floor = np.full((1, len(self.labels)), 1e-7)  # the page divides by them
        high, low = np.vstack((others, floor)).max(0), np.vstack((others, -floor)).min(0)
        return low.tolist(), high.tolist()

    def _sinks_named(self) -> str:
        return "1 attention sink" if len(self.sinks) == 1 else f"{len(self.sinks)} attention sinks"

    @property
    def html(self) -> str:
        """A whole page."""
        head = f'<meta charset="utf-8"><title>{as_html(self.title)}</title>'
        return f'<!doctype html><html lang="en"><head>{head}</head><body>{self.fragment}</body></html>\n'

    @checked
    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the page. Raises OutputError where there is a file, unless it is to go."""
        return save_text(path, self.html, overwrite=overwrite)

    def _repr_html_(self) -> str:
        return self.fragment

    def __repr__(self) -> str:
        return f"TokenView({len(self.pieces)} tokens, {', '.join(self.labels)}; max {self.values.max():.3g})"


def _plain(label: str) -> str:
    """A label that can stand inside a script and is not escaped again by the page."""
    return printable(label).replace("<", "‹").replace(">", "›")
