"""Occurrences of a word in texts: found in the characters that tokens spell, or as a run of token ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias, final

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from reasonmech.hosts.spelling import Spelling, continues, ends_before, word_kind
from reasonmech.hosts.words import token_forms
from reasonmech.interventions.masks.absence import absence_of_run, absence_of_word
from reasonmech.shapes import Mask
from reasonmech.step import Step

Pattern: TypeAlias = tuple[int, ...]

# what a token says without the text before it: whether an occurrence ends in it
_UNREAD, _NEVER, _ALWAYS, _DEPENDS = range(4)
_LONGEST: Final = 4  # bytes of one character
_MOST_KNOWN: Final = 65_536


class _Tables(NamedTuple):
    """By token id, as far as texts needed it: what a token says, and whether it is the word and no more."""

    read: UInt8[Tensor, "..."]
    whole: Bool[Tensor, "..."]


class Occurrence(NamedTuple):
    """Where an item stands: (token, byte in the token) of its first byte, and behind its last one."""

    start: tuple[int, int]
    stop: tuple[int, int]


class Finder(ABC):
    """Finds the occurrences of one item, each from the text up to the token that completes it."""

    def __init__(self, spelling: Spelling) -> None:
        self.spelling = spelling

    @property
    @abstractmethod
    def run(self) -> Pattern:
        """The token ids that the item usually has inside a text."""

    @abstractmethod
    def ends(self, step: Step) -> Mask:
        """Tokens in which an occurrence ends [batch, pos]."""

    @abstractmethod
    def ending_at(self, ids: Sequence[int], at: int) -> list[Occurrence]:
        """Occurrences that end in token `at` of a text, in their order."""

    @abstractmethod
    def whole(self, step: Step) -> Mask:
        """Tokens that are the item and nothing else [batch, pos]."""

    @abstractmethod
    def absence(self, texts: Sequence[Sequence[int]]) -> str:
        """Why there is none in these texts, in words; empty where there is one."""


@final
class RunFinder(Finder):
    """Finds a run of token ids."""

    def __init__(self, spelling: Spelling, run: Pattern) -> None:
        super().__init__(spelling)
        self._run = run

    @property
    def run(self) -> Pattern:
        return self._run

    def ends(self, step: Step) -> Mask:
        ends = step.text == self._run[-1]
        for back, token in enumerate(reversed(self._run[:-1]), start=1):
            earlier = torch.zeros_like(ends)
            earlier[:, back:] = step.text[:, :-back] == token
            ends &= earlier
        return ends

    def ending_at(self, ids: Sequence[int], at: int) -> list[Occurrence]:
        first = at + 1 - len(self._run)
        if first < 0 or tuple(ids[first : at + 1]) != self._run:
            return []
        pieces = self.spelling.part(ids, first, at + 1)
        return [Occurrence((first, pieces[0].joint), (at, len(pieces[-1].text)))]

    def whole(self, step: Step) -> Mask:
        return self.ends(step) & (len(self._run) == 1)

    def absence(self, texts: Sequence[Sequence[int]]) -> str:
        return "" if _occurs(self, texts) else absence_of_run(self.spelling, self._run, texts)


@final
class WordFinder(Finder):
    """Finds the characters of a word, however a tokenizer cuts them.

    What stands in the middle of a longer word or number is none of its occurrences, as far as the text up to
    the token that completes it tells: "wait" in "await" and in a token "waiter", but not in "wait" + "er".
    None begins or ends inside a special token.
    """

    def __init__(self, spelling: Spelling, word: str, *, last: bool) -> None:
        """`last`: nothing but blanks may stand behind it in the token in which it ends."""
        super().__init__(spelling)
        self._word, self._last = word, last
        self._bytes = word.encode()
        self._known: dict[tuple[int, ...], list[Occurrence]] = {}  # by the tokens that decide
        self._tables = _Tables(torch.zeros(0, dtype=torch.uint8), torch.zeros(0, dtype=torch.bool))

    def ends(self, step: Step) -> Mask:
        read = self._look_up(step.ids).read
        ends = (read == _ALWAYS) & step.mask
        open_questions = (read == _DEPENDS) & step.mask
        for row in open_questions.any(1).nonzero().flatten().tolist():
            real = step.mask[row]
            ids, marks = step.ids[row][real].tolist(), ends[row][real]
            for at in open_questions[row][real].nonzero().flatten().tolist():
                if self.ending_at(ids, at):
                    marks[at] = True
            ends[row, real] = marks
        return ends

    @cached_property
    def run(self) -> Pattern:
        return token_forms(self.spelling.tokenizer, self._word)[0]

    def _look_up(self, ids: Int[Tensor, "batch pos"]) -> _Tables:
        """What is known of each token. Tables are replaced, never written into: threads share a finder."""
        read, whole = self._tables
        more = max(0, int(ids.max()) + 1 - len(read)) if ids.numel() else 0
        if more or bool((read[ids] == _UNREAD).any()):
            read = torch.nn.functional.pad(read, (0, more), value=_UNREAD)
            whole = torch.nn.functional.pad(whole, (0, more), value=False)
            for token in ids[read[ids] == _UNREAD].unique().tolist():
                piece = self.spelling.piece(token)
                read[token] = self._read_token(token)
                whole[token] = piece.text[piece.joint :] == self._bytes
            self._tables = _Tables(read, whole)
        return _Tables(read[ids], whole[ids])

    def _read_token(self, token: int) -> int:
        piece, special = self.spelling.piece(token), token in self.spelling.special
        text, word = piece.text, self._bytes
        bare = text[1:] if text[:1] == b" " else text  # what is left of it where a text begins
        at, depends = text.find(word), False
        while at >= 0:
            loses_blank = at == 0 and bare != text
            joined = _char_before(text, at) if at else ""
            known = joined != "" or not word_kind(self._word[0])
            border = not joined or not continues(joined, self._word[0])
            ends = self._ends_well(text, at + len(word))
            if known and border and ends and not loses_blank and not special:
                return _ALWAYS
            depends |= ends
            at = text.find(word, at + 1)
        tails = [word[n:] for n in range(1, len(word))]
        # what a tail leaves of the token must let the word end, whatever stands before it
        depends |= any(
            rest.startswith(tail) and self._ends_well(rest, len(tail))
            for rest in {text, bare}
            for tail in tails
        )
        return _DEPENDS if depends and text else _NEVER

    def _ends_well(self, text: bytes, stop: int) -> bool:
        """Whether what stands behind an occurrence in its last token leaves it one."""
        if self._last and text[stop:].strip(b" "):
            return False
        return ends_before(self._word[-1], _char_after(text, stop) or " ")

    def ending_at(self, ids: Sequence[int], at: int) -> list[Occurrence]:
        needed = len(self._bytes) + _LONGEST  # bytes in front of the last token that decide
        first = max(0, at - needed)  # a token has at least one
        key = (first == 0, *ids[first : at + 1])
        occurrences = self._known.get(key)
        if occurrences is None:
            while first and sum(self._has_text(token) for token in ids[first:at]) < needed:
                first -= 1  # but for ids that no text has
            occurrences = self._read_text(ids, first, at)
            if first != max(0, at - needed):
                return [_shifted(one, first) for one in occurrences]
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = occurrences
        return [_shifted(one, first) for one in occurrences]

    def _has_text(self, token: int) -> bool:
        return self.spelling.piece(token).text != b""

    def _read_text(self, ids: Sequence[int], first: int, at: int) -> list[Occurrence]:
        """The occurrences that end in token `at`, from the tokens from `first` on, which are enough."""
        pieces = self.spelling.part(ids, first, at + 1)
        borders = list(accumulate((len(piece.text) for piece in pieces), initial=0))
        text = b"".join(piece.text for piece in pieces)
        occurrences = []
        start = text.find(self._bytes, max(0, borders[-2] - len(self._bytes) + 1))
        while start >= 0:
            stop = start + len(self._bytes)
            i = bisect_right(borders, start) - 1
            one = Occurrence((i, start - borders[i]), (at - first, stop - borders[-2]))
            before = _char_before(text, start) or " "
            parted = not continues(before, self._word[0]) and self._ends_well(text, stop)
            sizes = pieces[i].joint, len(pieces[-1].text)
            if parted and self._is_outside_specials(ids[first : at + 1], one, *sizes):
                occurrences.append(one)
            start = text.find(self._bytes, start + 1)
        return occurrences

    def _is_outside_specials(self, ids: Sequence[int], one: Occurrence, joint: int, size: int) -> bool:
        """Whether it neither begins nor ends in the middle of a special token."""
        special = self.spelling.special
        begins = one.start[1] <= joint or int(ids[one.start[0]]) not in special
        return begins and (one.stop[1] == size or int(ids[one.stop[0]]) not in special)

    def whole(self, step: Step) -> Mask:
        return self._look_up(step.ids).whole & step.mask

    def absence(self, texts: Sequence[Sequence[int]]) -> str:
        return "" if _occurs(self, texts) else absence_of_word(self.spelling, self._word, texts)


def _occurs(finder: Finder, texts: Sequence[Sequence[int]]) -> bool:
    return any(finder.ending_at(ids, at) for ids in texts for at in range(len(ids)))


def _shifted(one: Occurrence, tokens: int) -> Occurrence:
    (a, b), (c, d) = one
    return Occurrence((a + tokens, b), (c + tokens, d))


def _char_before(text: bytes, at: int) -> str:
    """The character that ends at a byte; "" where there is none, or half of one."""
    return _one_character(text[max(0, at - size) : at] for size in range(1, _LONGEST + 1))


def _char_after(text: bytes, at: int) -> str:
    """The character that begins at a byte; "" where there is none, or half of one."""
    return _one_character(text[at : at + size] for size in range(1, _LONGEST + 1))


def _one_character(candidates: Iterable[bytes]) -> str:
    for candidate in candidates:
        try:
            decoded = candidate.decode()
        except UnicodeDecodeError:
            continue
        if len(decoded) == 1:
            return decoded
    return ""
