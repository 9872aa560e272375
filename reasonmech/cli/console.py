"""Where verbs print: standard output for results, standard error for complaints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def make_console() -> Console:
    """A console that colours what a verb styles; text is text, whatever it looks like: a number, a path, a
    tag in brackets, a word between colons."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def complain(message: str) -> None:
    """Print a message where a pipe does not catch it."""
    print(message, file=sys.stderr)
