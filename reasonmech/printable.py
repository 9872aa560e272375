"""Printable: text that we did not write, with what a screen would obey and not draw written out."""

from __future__ import annotations

import re
from typing import Final

# Controls (a terminal's commands) but tab and line break, half characters, which no file takes, other breaks
# of lines, and signs that turn the order of what follows them, so that a name looks like another. Joiners,
# soft hyphens and marks such as U+200F are of words.
_OBEYED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""`text` with its tabs and line breaks, and other controls as Python's `repr` writes them: `\x1b`.

    So are single surrogates, U+2028, U+2029, and the signs of order U+202A to U+202E and U+2066 to U+2069.
    """
    return _OBEYED.sub(lambda sign: repr(sign[0])[1:-1], text.replace("\r\n", "\n"))
