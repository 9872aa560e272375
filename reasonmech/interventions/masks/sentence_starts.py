"""A mask that names the first tokens of sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

import torch
from jaxtyping import Bool
from torch import Tensor

from reasonmech.abbreviations import BEFORE_ANYTHING, LAST_WORD
from reasonmech.arguments import as_sequence
from reasonmech.errors import BindError, UnknownNameError
from reasonmech.hosts.growing_ids import GrowingIds
from reasonmech.hosts.spelling import Spelling, spelling_of
from reasonmech.hosts.words import is_writable
from reasonmech.interventions.masks.finders import finder_of
from reasonmech.interventions.masks.occurrences import Finder
from reasonmech.interventions.masks.where import Where, masks
from reasonmech.interventions.masks.words import BoundWords
from reasonmech.shapes import Mask, Tokens
from reasonmech.step import Step

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENDS: Final = (".", "!", "?", "\n")
Begins: TypeAlias = Literal["yes", "no", "next"]  # "next": it closes what ended, and the next one may begin
OfText: TypeAlias = Bool[Tensor, " pos"]  # marks of one text's tokens
_MARKS: Final = re.compile(r"[.!?]+(?=[\"'”’»)\]}*_]*$)")
_CLOSERS: Final = re.compile(r"[\"'”’»)\]}*_]+")
_READ: Final = 12  # tokens before one that are read
_MOST_KNOWN: Final = 65_536
_MOST_TEXTS: Final = 4096


@masks.register("sentence_starts")
@final
@dataclass(frozen=True, repr=False)
class SentenceStarts(Where):
    """The first token of the text, the first generated one, and every token after one that ends a sentence.

    Without ends of your own the sentences are those of `rm.text.cut`, of the prompt and of what was generated
    behind it, token by token: formulas, code, decimals, abbreviations, tags and wide punctuation included.

    With ends of your own, and in the worlds whose tokens are words parted by blanks, a token ends a sentence
    when it completes one of the ends and holds nothing behind it but blanks, or what closes behind a mark (a
    quote, a bracket); or when it holds a line break (where that is one of them). No sentence begins right
    behind ".", "!" or "?" without a blank ("3.14", "v2.0"), nor behind a full stop of an abbreviation ("e.g.
    this").

    Attributes:
        ends: what a sentence ends with; one string is one end; `ENDS`: what ends one in any text.
    """

    ends: tuple[str, ...] = ENDS
    kind = "sentence_starts"

    def __post_init__(self) -> None:
        ends = as_sequence(self.ends, str, name="ends of sentence_starts()", allowed="texts such as '.'")
        object.__setattr__(self, "ends", tuple(ends))

    def __str__(self) -> str:
        return "sentence_starts()" if self.ends == ENDS else f"sentence_starts(ends={self.ends!r})"

    def mask(self, step: Step) -> Mask:
        raise BindError("sentence_starts() is not bound", do="bind(plan, host) finds the tokens that end one")

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        spelling = spelling_of(tokenizer)
        if self.ends == ENDS and not spelling.joins:
            return CutSentenceStarts(self, GrowingTexts(spelling))
        ends = [end for end in self.ends if is_writable(tokenizer, end)]
        if not ends:
            raise UnknownNameError(
                "sentence end", "/".join(self.ends), ["ends that some text of this tokenizer has"]
            )
        # whatever stands behind a line break in its token
        finders = (finder_of(end, tokenizer, last=end != "\n") for end in ends)
        return BoundSentenceStarts(self, tuple(finders), Beginnings(spelling, self.ends))


@final
class GrowingTexts:
    """First tokens of the sentences of texts that grow, given anew with every token."""

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        self._known: dict[tuple[int, tuple[int, ...]], tuple[list[bool], GrowingIds]] = {}

    def marks(self, ids: list[int], prompt_length: int) -> list[bool]:
        """Of one text, whose prompt has so many tokens."""
        marks, growing = self._before(ids, prompt_length)
        for at in range(len(marks), len(ids)):
            if at == prompt_length:
                growing = GrowingIds(self._spelling)  # what is generated is cut by itself
            marks.append(growing.append(ids, at) is not None)
        if len(self._known) >= _MOST_TEXTS:
            self._known = {}
        self._known[prompt_length, tuple(ids)] = marks, growing
        return marks

    def _before(self, ids: list[int], prompt_length: int) -> tuple[list[bool], GrowingIds]:
        """What is known of the text without its last token, to be written on."""
        known = self._known.pop((prompt_length, tuple(ids[:-1])), None)
        return known if known is not None else ([], GrowingIds(self._spelling))


@final
class Beginnings:
    """Whether a sentence begins with a token that stands behind the end of one, from the text up to it."""

    def __init__(self, spelling: Spelling, ends: Sequence[str]) -> None:
        self._spelling, self._ends = spelling, frozenset(ends)
        self._known: dict[tuple[int, ...], Begins] = {}
        self._closing: dict[int, str] = {}

    def closing(self, ids: Tokens) -> Mask:
        """Tokens with a mark among the ends and what closes behind it, such as '."' [batch, pos]."""
        tokens, where = torch.unique(ids, return_inverse=True)
        closes = [self._mark_of(token) in self._ends for token in tokens.tolist()]
        return torch.tensor(closes, dtype=torch.bool)[where]

    def _mark_of(self, token: int) -> str:
        """The mark in a token behind which only what closes stands; empty where there is none."""
        if token not in self._closing:
            text = self._spelling.piece(token).text.decode(errors="replace").rstrip()
            marks = None if token in self._spelling.special else _MARKS.search(text)
            self._closing[token] = marks[0][-1] if marks is not None and marks.end() < len(text) else ""
        return self._closing[token]

    def at(self, ids: Sequence[int], at: int) -> Begins:
        """What is true of token `at`, where what stands before it ends a sentence by its mark."""
        first = max(0, at - _READ)
        key = tuple(ids[first : at + 1])
        if first == 0:  # the same tokens say something else where a text begins
            return self._read(ids, first, at)
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known = {}
            self._known[key] = self._read(ids, first, at)
        return self._known[key]

    def _read(self, ids: Sequence[int], first: int, at: int) -> Begins:
        *before, now = (piece.text for piece in self._spelling.part(ids, first, at + 1))
        text, piece = b"".join(before).decode(errors="ignore"), now.decode(errors="replace")
        marks = _MARKS.search(text.rstrip())
        if marks is None or self._spelling.special & {ids[at - 1], ids[at]} or "\n" in text[marks.end() :]:
            return "yes"  # behind a line break, or an end of the caller's own
        if not text[-1:].isspace() and not piece[:1].isspace():  # glued to the mark
            return "next" if piece and _CLOSERS.fullmatch(piece.rstrip()) else "no"
        word = LAST_WORD.search(text, 0, marks.start())
        abbreviated = marks[0] == "." and word is not None and BEFORE_ANYTHING.fullmatch(word[0])
        return "no" if abbreviated else "yes"


@final
@dataclass(frozen=True, repr=False)
class CutSentenceStarts(BoundWords):
    """`SentenceStarts` of a tokenizer, where sentences are cut as anywhere else."""

    texts: GrowingTexts
    kind = "sentence_starts"

    def mask(self, step: Step) -> Mask:
        at = step.positions
        starting = (at == 0) | (at == step.prompt_length[:, None])
        for row, length in enumerate(step.prompt_length.tolist()):
            real = step.mask[row]
            begun = torch.tensor(self.texts.marks(step.ids[row][real].tolist(), length), dtype=torch.bool)
            starting[row, real] |= begun.to(starting.device)
        return starting


@final
@dataclass(frozen=True, repr=False)
class BoundSentenceStarts(BoundWords):
    """`SentenceStarts` of a tokenizer."""

    ends: tuple[Finder, ...]
    beginnings: Beginnings
    kind = "sentence_starts"

    def mask(self, step: Step) -> Mask:
        ending = torch.zeros_like(step.mask)
        for end in self.ends:
            ending |= end.ends(step)
        ending |= self.beginnings.closing(step.ids) & step.mask
        starting = torch.zeros_like(ending)
        # of several ends in a row ("?!") the last one ends the sentence
        starting[:, 1:] = ending[:, :-1] & ~ending[:, 1:]
        for row in starting.any(1).nonzero().flatten().tolist():
            real = step.mask[row]
            ids, ends = step.ids[row][real].tolist(), ending[row][real]
            starting[row, real] = self._begun(ids, starting[row][real], ends)
        at = step.positions
        return starting | (at == 0) | (at == step.prompt_length[:, None])

    def _begun(self, ids: list[int], starting: OfText, ending: OfText) -> OfText:
        """Of one text's tokens behind ends of sentences, those with which one begins."""
        begun = torch.zeros_like(starting)
        for first in starting.nonzero().flatten().tolist():
            at, what = first, self.beginnings.at(ids, first)
            while what == "next" and at + 1 < len(ids) and not ending[at]:
                at += 1
                what = self.beginnings.at(ids, at)
            begun[at] = what == "yes" and not ending[at]
        return begun


def sentence_starts(ends: str | tuple[str, ...] = ENDS) -> Where:
    """First tokens of sentences. What *chooses* such a token is the one before: tokens(".") names those."""
    return SentenceStarts((ends,) if isinstance(ends, str) else ends)
