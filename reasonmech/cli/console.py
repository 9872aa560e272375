"""Where verbs print: results to standard output, complaints to standard error; no text is a command."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reasonmech.printable import printable

if TYPE_CHECKING:
    from rich.console import Console


def make_console() -> Console:
    """A console that colours what a verb styles; text is text, whatever it looks like: a number, a path, a
    tag in brackets, a word between colons, a terminal's command."""
    from reasonmech.cli.plain_console import PlainConsole

    return PlainConsole(highlight=False, markup=False, emoji=False)


def say(message: object) -> None:
    """Print a line of results as it is, for pipes: not wrapped, not coloured."""
    print(printable(str(message)))


def complain(message: str) -> None:
    """Print a message where a pipe does not catch it."""
    print(printable(message), file=sys.stderr)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings meanwhile are lines of their own, without the source that gave them."""

    def write(message: Warning | str, *where: object, **more: object) -> str:
        return f"warning: {printable(str(message))}\n"

    earlier, warnings.formatwarning = warnings.formatwarning, write
    try:
        yield
    finally:
        warnings.formatwarning = earlier
