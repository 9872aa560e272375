"""Sentences of a reasoning trace, by character offset: markdown, LaTeX, lists, code and think tags
included."""

from __future__ import annotations

from typing import NamedTuple

from reasonmech.door import checked
from reasonmech.hosts.sentences import cuts_of


class CharSpan(NamedTuple):
    """Half-open character offsets [start, stop) into a text."""

    start: int
    stop: int


@checked
def segment(text: str) -> list[CharSpan]:
    r"""Cut a text into sentences: ordered, disjoint, and between them nothing but white space.

    A line break ends a sentence (models do not wrap lines), and so do ".", "!", "?", "…" and their wide
    forms, with the quotes and brackets that close after them. They do not inside code fences, `code`, $x$,
    $$x$$, \(x\), \[x\] and LaTeX environments; nor in "3.14", "e.g.", "Fig. 2", "5! = 120", in the number of
    a list item, or, for ".", where the next word goes on in lower case. Think tags and end-of-text marks are
    sentences of their own.

    Two readings that punctuation cannot tell apart are decided: one capital letter ends a sentence ("the
    answer is B."), so initials ("J. Smith") are cut; a lone lower-case letter begins one ("It is 5. y is
    7.").

    This reads a whole text. Of one that is being written `cut` reads the sentences, token by token.
    """
    cuts = [0, *cuts_of(text)]
    return [
        span for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True) if (span := _stripped(text, a, b))
    ]


def _stripped(text: str, start: int, stop: int) -> CharSpan | None:
    piece = text[start:stop]
    left = len(piece) - len(piece.lstrip())
    visible = len(piece.strip())
    return CharSpan(start + left, start + left + visible) if visible else None
