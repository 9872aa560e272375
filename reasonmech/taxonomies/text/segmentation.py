"""Sentences of a reasoning trace, by character offset: markdown, LaTeX, lists, code and think tags
included."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from reasonmech.abbreviations import BEFORE_A_NUMBER, BEFORE_ANYTHING, BEFORE_LOWER_CASE, LAST_WORD
from reasonmech.door import checked


class CharSpan(NamedTuple):
    """Half-open character offsets [start, stop) into a text."""

    start: int
    stop: int


_NO_GAP: Final = (
    r"(?:(?!\n[ \t]*\n).){0,2000}?"  # a formula holds no blank line; the bound keeps the time linear
)
_NO_TAG: Final = r"(?:(?!</?think).){0,8000}?"
_CLOSERS: Final = "[\"'”’»)\\]}」』）】*_]*"
_TOKEN: Final = re.compile(
    rf"""
      (?P<tag> </?think(?:ing)?> | <\|[^\s|<>]{{1,64}}\|> | <｜[^\s<>]{{1,64}}｜> | </?s> | <eos> )
    | (?P<whole>                                              # no sentence ends in here
          ^[ \t]*(?P<fence>```+|~~~+)[^\n]*\n{_NO_TAG}^[ \t]*(?P=fence)[ \t]*$
        | \\\[{_NO_GAP}\\\] | \\\({_NO_GAP}\\\) | \$\${_NO_GAP}\$\$
        | \\begin\{{(?P<environment>[a-z]+\*?)\}}{_NO_GAP}\\end\{{(?P=environment)\}}
        | \\[^\n]
        | \$(?!\s)(?:\\.|[^$\n\\])+(?<!\s)\$(?!\d)             # pandoc's rule: "$5 and $10" is no formula
        | (?<!`)`[^`\n]+`(?!`)
      )
    | (?P<line> [\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+ )
    | (?P<number> ^[ \t>\#*_+-]*(?:(?:step|case|part)\ +)?
        (?:\d{{1,3}}|[a-h]|i{{1,3}}|iv|vi{{0,3}}|ix)[.)](?=[\s*]) )
    | (?P<end> (?:[.!?…]+ | [。！？｡．]+){_CLOSERS} )
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_NEXT_WORD: Final = re.compile(r"[^\W\d_]+")
_WIDE: Final = frozenset("。！？｡．")
_OPERATORS: Final = frozenset("=+/^<>×·÷≤≥≠≡,;:)]}")


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
    """
    cuts = [0]
    for token in _TOKEN.finditer(text):
        if token["tag"]:
            cuts += [token.start(), token.end()]
        elif token["line"] or (token["end"] and _ends(text, token)):
            cuts.append(token.end())
    return [
        span for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True) if (span := _stripped(text, a, b))
    ]


def _stripped(text: str, start: int, stop: int) -> CharSpan | None:
    piece = text[start:stop]
    left = len(piece) - len(piece.lstrip())
    visible = len(piece.strip())
    return CharSpan(start + left, start + left + visible) if visible else None


def _ends(text: str, token: re.Match[str]) -> bool:
    """Whether a sentence ends at these punctuation marks."""
    marks = token["end"]
    rest = text[token.end() : token.end() + 64]
    following = rest.lstrip()
    if marks[0] in _WIDE or not following:
        return True
    if rest[0] not in " \t\u3000\xa0" and not rest[0].isspace():
        return following[0] == "<"  # a tag stands right behind
    if following[0] in _OPERATORS:
        return False
    word = _NEXT_WORD.match(following)
    lower = word is not None and word[0].islower()
    previous = LAST_WORD.search(text, max(0, token.start() - 24), token.start())
    if marks[0] in "!?":
        closed = len(marks) > 1 and marks[-1] in "\"'”’»"  # "Stop!" she said
        factorial = marks == "!" and (
            text[max(0, token.start() - 1) : token.start()].isdigit() or _is_letter(previous)
        )
        return not (lower and (closed or factorial))
    if marks == "." and previous is not None and _abbreviates(previous[0], following, lower):
        return False
    return not lower or (marks[0] == "." and marks[:2] != ".." and word is not None and len(word[0]) == 1)


def _is_letter(previous: re.Match[str] | None) -> bool:
    return previous is not None and len(previous[0]) == 1


def _abbreviates(word: str, following: str, lower: bool) -> bool:
    numbered = following[0].isdigit() or following[0] in "(\\$"
    return bool(
        BEFORE_ANYTHING.fullmatch(word)
        or (numbered and BEFORE_A_NUMBER.fullmatch(word))
        or (lower and BEFORE_LOWER_CASE.fullmatch(word))
    )
