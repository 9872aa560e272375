"""PlainConsole: rich's console, where no text is a command to the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from reasonmech.printable import printable


@final
class PlainConsole(Console):
    """Colours and links come from styles alone: a text is drawn, or written out (`printable`)."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
