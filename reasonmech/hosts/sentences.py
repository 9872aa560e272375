"""Sentences: where one ends in a whole text, and where the next begins in one that is being written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, final

from reasonmech.abbreviations import BEFORE_A_NUMBER, BEFORE_ANYTHING, BEFORE_LOWER_CASE, LAST_WORD

# a formula holds no blank line; the bounds keep the time linear
_NO_GAP: Final = r"(?:(?!\n[ \t]*\n).){0,2000}"
_NO_TAG: Final = r"(?:(?!</?think).){0,8000}"
_CLOSERS: Final = "[\"'”’»)\\]}」』）】*_]*"
_TAG: Final = r"</?think(?:ing)?> | <\|[^\s|<>]{1,64}\|> | <｜[^\s<>]{1,64}｜> | </?s> | <eos>"
_WHOLE: Final = rf"""
      ^[ \t]*(?P<fence>```+|~~~+)[^\n]*\n{_NO_TAG}?^[ \t]*(?P=fence)[ \t]*$
    | \\\[{_NO_GAP}?\\\] | \\\({_NO_GAP}?\\\) | \$\${_NO_GAP}?\$\$
    | \\begin\{{(?P<environment>[a-z]+\*?)\}}{_NO_GAP}?\\end\{{(?P=environment)\}}
"""
_INLINE: Final = r"""
      \\[^\n]
    | \$(?!\s)(?:\\.|[^$\n\\])+(?<!\s)\$(?!\d)             # pandoc's rule: "$5 and $10" is no formula
    | (?<!`)`[^`\n]+`(?!`)
"""
# of a text that is not at its end yet: what was opened holds until it is closed, or cannot be any more
_OPEN: Final = rf"""
      ^[ \t]*(?:```+|~~~+)[^\n]*(?:\n{_NO_TAG})?\Z
    | \\\[{_NO_GAP}\Z | \\\({_NO_GAP}\Z | \$\${_NO_GAP}\Z | \\begin\{{[a-z]+\*?\}}{_NO_GAP}\Z
"""
_OPEN_INLINE: Final = r"""
      \$(?![\s\d$])(?:\\.|[^$\n\\]){0,200}\Z | (?<!`)`[^`\n]{1,200}\Z
"""
_REST: Final = rf"""
    | (?P<line> [\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+ )
    | (?P<number> ^[ \t>\#*_+-]*(?:(?:step|case|part)\ +)?
        (?:\d{{1,3}}|[a-h]|i{{1,3}}|iv|vi{{0,3}}|ix)[.)](?=[\s*]) )
    | (?P<end> (?:[.!?…]+ | [。！？｡．]+){_CLOSERS} )
"""
_FLAGS: Final = re.VERBOSE | re.MULTILINE | re.DOTALL | re.IGNORECASE
_TOKEN: Final = re.compile(rf"(?P<tag>{_TAG}) | (?:{_WHOLE} | {_INLINE}) {_REST}", _FLAGS)
_TOKEN_SO_FAR: Final = re.compile(
    rf"(?P<tag>{_TAG}) | (?P<begun></(?:t(?:h(?:i(?:n(?:k)?)?)?)?)?\Z | <th(?:i(?:n(?:k)?)?)?\Z) "
    rf"| (?:{_WHOLE} | {_OPEN} | {_INLINE} | {_OPEN_INLINE}) {_REST}",
    _FLAGS,
)
_MAY_END: Final = re.compile(r"[.!?…。！？｡．<\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_NEXT_WORD: Final = re.compile(r"[^\W\d_]+")
_WIDE: Final = frozenset("。！？｡．")
_OPERATORS: Final = frozenset("=+/^<>×·÷≤≥≠≡,;:)]}")
_LOST: Final = "\ufffd"
_DOT: Final = "."
_BEHIND: Final = 64  # characters before a sentence that are kept: line break, quotes, a word


def cuts_of(text: str) -> Iterator[int]:
    """Characters of a whole text at which one sentence ends and another may begin, in order."""
    return _cuts(_TOKEN.finditer(text), text, whole=True)


def _cuts(tokens: Iterator[re.Match[str]], text: str, *, whole: bool) -> Iterator[int]:
    for token in tokens:
        kind = token.lastgroup
        if kind == "tag":
            yield token.start()
            yield token.end()
        elif kind == "begun":
            yield token.start()
        elif kind == "line" or (kind == "end" and _ends(text, token, whole=whole)):
            yield token.end()


def _ends(text: str, token: re.Match[str], *, whole: bool) -> bool:
    """Whether a sentence ends at these punctuation marks."""
    marks = token["end"]
    rest = text[token.end() : token.end() + 64]
    following = rest.lstrip()
    previous = LAST_WORD.search(text, max(0, token.start() - 24), token.start())
    if marks[0] in _WIDE:
        return True
    if not following:
        return whole or not (marks == _DOT and previous is not None and _never_ends(previous[0], rest))
    if rest[0] not in " \t\u3000\xa0" and not rest[0].isspace():
        return following[0] == "<"  # a tag stands right behind
    if following[0] in _OPERATORS:
        return False
    word = _NEXT_WORD.match(following)
    lower = word is not None and word[0].islower()
    if marks[0] in "!?":
        closed = len(marks) > 1 and marks[-1] in "\"'”’»"  # "Stop!" she said
        factorial = marks == "!" and (
            text[max(0, token.start() - 1) : token.start()].isdigit() or _is_letter(previous)
        )
        return not (lower and (closed or factorial))
    if marks == _DOT and previous is not None and _abbreviates(previous[0], following, lower):
        return False
    return not lower or (marks[0] == _DOT and marks[:2] != ".." and word is not None and len(word[0]) == 1)


def _never_ends(word: str, rest: str) -> bool:
    """Whether no sentence can end with a word and a full stop, whatever comes."""
    return BEFORE_ANYTHING.fullmatch(word) is not None and "\n" not in rest


def _is_letter(previous: re.Match[str] | None) -> bool:
    return previous is not None and len(previous[0]) == 1


def _abbreviates(word: str, following: str, lower: bool) -> bool:
    numbered = following[0].isdigit() or following[0] in "(\\$"
    return bool(
        BEFORE_ANYTHING.fullmatch(word)
        or (numbered and BEFORE_A_NUMBER.fullmatch(word))
        or (lower and BEFORE_LOWER_CASE.fullmatch(word))
    )


class _Start(NamedTuple):
    """Where a sentence begins: behind the end of the one before, and its first visible character."""

    cut: int
    first: int


@final
class GrowingText:
    """A text that is being written, token by token, and its sentences as far as they are known.

    A sentence begins with the first token that shows it: what the rules of a whole text (`cuts_of`) say of
    the text up to and including that token. They are asked again with every token and never taken back, so
    that whoever reads the tokens later, one by one, sees the same sentences. Where only the text to come
    could tell, the text so far decides: a formula or a code fence that was opened holds until it is closed,
    or cannot be any more; a token that is one lower-case letter behind a full stop begins a sentence ("y is
    7").

    Attributes:
        may_begin: whether the next token that writes something visible may begin a sentence, unless what it
            writes says otherwise ("3." and "14").
    """

    def __init__(self) -> None:
        self._tail, self._at = "", 0  # the text from character `_at` on
        self._running = _Start(0, 0)  # the running sentence
        self._partial = False  # whether the last character is only begun
        self._new = self._known = 0  # sentences that began; those of the last visible character
        self.may_begin = True

    def copy(self) -> GrowingText:
        """The same text so far, to be written on by itself."""
        twin = GrowingText.__new__(GrowingText)
        vars(twin).update(vars(self))
        return twin

    def append(self, written: str, *, partial: bool = False) -> int | None:
        """Write what one token adds; where the sentence begins that it begins, or None.

        Args:
            written: characters that are complete with this token.
            partial: whether the token leaves a character unfinished behind them.
        """
        before = self._tail[:-1] if self._partial else self._tail
        self._tail, self._partial = before + written + (_LOST if partial else ""), partial
        shown = self._tail[len(before) :]
        visible = shown.lstrip()
        if not visible:
            self.may_begin = self.may_begin or self._ended()
            return None
        first = len(before) + len(shown) - len(visible)
        starts = self._starts()
        if self._new and starts and not self._tail[self._running.first : starts[0].first].strip():
            self._running = starts.pop(0)  # what was begun as a character was white space
        reached = sum(start.first <= first for start in starts)
        began = self._new + reached > self._known
        begun = self._at + [self._running, *starts][reached].first if began else None
        self._known = self._new + reached
        self._new += len(starts)
        self._running = starts[-1] if starts else self._running
        self._drop()
        self.may_begin = self._ended()
        return begun

    def _starts(self) -> list[_Start]:
        """Sentences behind the running one; the first of all is one of them."""
        if self._new:
            return list(self._behind(self._running))
        begun = _Start(0, len(self._tail) - len(self._tail.lstrip()))
        return [begun, *self._behind(begun)]

    def _behind(self, running: _Start) -> Iterator[_Start]:
        text, last = self._tail, running.first
        if _MAY_END.search(text, last) is None:
            return
        for cut in _cuts(_TOKEN_SO_FAR.finditer(text, running.cut), text, whole=False):
            rest = text[cut:]
            begins = cut + len(rest) - len(rest.lstrip())
            if last < begins < len(text):
                yield _Start(cut, begins)
                last = begins

    def _ended(self) -> bool:
        """Whether a sentence may end with what is written."""
        end = len(self._tail.rstrip())
        if not self._new or _MAY_END.search(self._tail, max(self._running.first, end - 12)) is None:
            return not self._new
        tokens = _TOKEN_SO_FAR.finditer(self._tail, self._running.cut)
        return any(cut >= end for cut in _cuts(tokens, self._tail, whole=False))

    def _drop(self) -> None:
        """Forget what lies behind: no rule reads further back than the running sentence and its line."""
        excess = self._running.cut - _BEHIND
        if excess > 4 * _BEHIND:
            self._tail, self._at = self._tail[excess:], self._at + excess
            self._running = _Start(self._running.cut - excess, self._running.first - excess)
