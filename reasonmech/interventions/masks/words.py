"""Masks that read words: given words or tokens, and what stands between two tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import torch
from jaxtyping import Int
from torch import Tensor

from reasonmech.arguments import describe
from reasonmech.errors import BindError
from reasonmech.interventions.canonical import Json
from reasonmech.interventions.masks.finders import Item, finder_of
from reasonmech.interventions.masks.occurrences import Finder, Pattern
from reasonmech.interventions.masks.where import Where, masks
from reasonmech.ranges import MOST
from reasonmech.shapes import Mask
from reasonmech.step import Step

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ALLOWED: Final = (
    "words, token ids (0 or more), tuples of token ids (a run of tokens), "
    "or tuples of a word and its id (names of one thing)"
)


def _is_item(item: object) -> bool:
    if isinstance(item, tuple):
        # several words are several items, but for an id beside them that says they are one thing
        return any(isinstance(part, int) for part in item) and all(_is_one(part) for part in item)
    return _is_one(item)


def _is_one(item: object) -> bool:
    # True is an int, and no token
    if isinstance(item, int):
        return not isinstance(item, bool) and 0 <= item < MOST
    return isinstance(item, str) and item != ""


def _unbound(where: Where) -> BindError:
    return BindError(f"{where} does not know a tokenizer yet", do="bind(plan, host) turns words into tokens")


@masks.register("tokens")
@final
@dataclass(frozen=True, repr=False)
class Tokens(Where):
    """The token that completes each occurrence of the given words, token ids, or runs of token ids.

    A word is looked for in the characters that the tokens spell, so it does not matter where they are cut:
    tokens(".") names the token ".\\n", too. One that stands in a longer word or number is none of its
    occurrences, as far as the text up to that token tells; a word is taken as it is written, in its case.
    A tuple with a word in it names one thing in several ways: ("<think>", 151648) is either.

    Raises:
        BindError: no item, or one that is no word, no token id and no run of them.
    """

    items: tuple[Item, ...]
    kind = "tokens"

    def __post_init__(self) -> None:
        wrong = [item for item in self.items if not _is_item(item)]
        if not self.items or wrong:
            raise BindError(
                f"tokens() was given {describe(wrong[0])}" if wrong else "tokens() without a token",
                allowed=ALLOWED,
                do="write several as tokens(a, b), or tokens(*them)",
            )

    def mask(self, step: Step) -> Mask:
        raise _unbound(self)

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return BoundTokens(self, tuple(finder_of(item, tokenizer) for item in self.items))

    def words(self) -> frozenset[str]:
        return frozenset(item for item in self.items if isinstance(item, str))


@masks.register("inside")
@final
@dataclass(frozen=True, repr=False)
class Inside(Where):
    """What stands between an opening tag and the next closing one; an unclosed tag stays open.

    A token is inside if, with it, the text has an open tag, or if it holds a character between the two. So
    the token that completes the opening tag is inside (what stands first after the tag is chosen there), and
    the one that completes the closing tag is not, unless it holds the end of what stands between them, too.
    The tokens of a closing tag before its last are inside: only the last one tells that it is one.

    Tags are found in the characters that the tokens spell, wherever they are cut ("</", "think", ">\\n\\n").
    An opening tag inside an open one, and a closing one where none is open, change nothing. Where both tags
    are the same, every other one closes.

    Raises:
        BindError: a tag that is no word, no token id and no run of them.
    """

    open: Item
    close: Item
    kind = "inside"

    def __post_init__(self) -> None:
        for tag in (self.open, self.close):
            if not _is_item(tag):
                raise BindError(
                    f"inside() was given {describe(tag)}",
                    allowed=ALLOWED,
                    do='rm.interventions.inside("<think>", "</think>")',
                )

    def mask(self, step: Step) -> Mask:
        raise _unbound(self)

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return BoundInside(self, finder_of(self.open, tokenizer), finder_of(self.close, tokenizer))

    def words(self) -> frozenset[str]:
        return frozenset(tag for tag in (self.open, self.close) if isinstance(tag, str))


@dataclass(frozen=True, repr=False)
class BoundWords(Where):
    """A mask that reads words and knows the tokenizer; it is written and shown as its source is."""

    source: Where

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return self.source.resolve(tokenizer)

    def words(self) -> frozenset[str]:
        return self.source.words()

    def idle(self, texts: Sequence[Sequence[int]]) -> tuple[str, ...]:
        why = self.absence(texts)
        return (f"{self} marks nothing: {why}",) if why else ()

    def to_json(self) -> dict[str, Json]:
        return self.source.to_json()

    def __str__(self) -> str:
        return str(self.source)


@final
@dataclass(frozen=True, repr=False)
class BoundTokens(BoundWords):
    """`Tokens` of a tokenizer."""

    finders: tuple[Finder, ...]
    kind = "tokens"

    @property
    def items(self) -> tuple[Pattern, ...]:
        """Each item as the token ids that it usually has inside a text; its characters are what is found."""
        return tuple(finder.run for finder in self.finders)

    def mask(self, step: Step) -> Mask:
        marks = torch.zeros_like(step.mask)
        for finder in self.finders:
            marks |= finder.ends(step)
        return marks

    def absence(self, texts: Sequence[Sequence[int]]) -> str:
        reasons = [finder.absence(texts) for finder in self.finders]
        return "; ".join(reasons) if all(reasons) else ""


@final
@dataclass(frozen=True, repr=False)
class BoundInside(BoundWords):
    """`Inside` of a tokenizer."""

    opening: Finder
    closing: Finder
    kind = "inside"

    def mask(self, step: Step) -> Mask:
        opens, closes = self.opening.ends(step), self.closing.ends(step)
        marks = _last(opens) > _last(closes)
        # where each token that completes a tag is it and no more, the last one so far decides
        merged = (opens & ~self.opening.whole(step)) | (closes & ~self.closing.whole(step)) | (opens & closes)
        for row in (opens.any(1) & merged.any(1)).nonzero().flatten().tolist():
            real = step.mask[row]
            tags = (opens | closes)[row][real].nonzero().flatten().tolist()
            marks[row, real] = self._read(step.ids[row][real].tolist(), tags)
        return marks

    def _read(self, ids: Sequence[int], tags: Sequence[int]) -> Mask:
        """Marks of a text from the tokens that complete tags, read from left to right."""
        marks = torch.zeros(len(ids), dtype=torch.bool)
        behind, opened = (0, 0), None  # the place behind the last tag; the token of one that is open
        for at in tags:
            opening = [(tag, True) for tag in self.opening.ending_at(ids, at)]
            closing = [(tag, False) for tag in self.closing.ending_at(ids, at)]
            for tag, opens in sorted(opening + closing, key=lambda pair: (pair[0].stop, pair[0].start)):
                if tag.start < behind or opens == (opened is not None):
                    continue
                if opened is not None:
                    marks[opened:at] = True
                    marks[at] |= self._holds(ids, at, behind, tag.start)
                opened, behind = at if opens else None, tag.stop
        if opened is not None:
            marks[opened:] = True
        return marks

    def _holds(self, ids: Sequence[int], at: int, start: tuple[int, int], stop: tuple[int, int]) -> bool:
        """Whether token `at` has a character of its own between two places of a text."""
        joint = self.opening.spelling.part(ids, at, at + 1)[0].joint
        return max(start, (at, joint)) < stop

    def absence(self, texts: Sequence[Sequence[int]]) -> str:
        return self.opening.absence(texts)

    def idle(self, texts: Sequence[Sequence[int]]) -> tuple[str, ...]:
        """Without an opening tag; or without a closing one that the vocabulary has no token for, either: a
        text that was cut off closes nothing, but there the model may call its token otherwise."""
        if why := super().idle(texts):
            return why
        n_tokens, why_open = len(self.closing.run), self.closing.absence(texts)
        if not why_open or n_tokens == 1:
            return ()
        return (f"{self} stays open: {why_open}, and it takes {n_tokens} tokens of this tokenizer",)


def _last(marks: Mask) -> Int[Tensor, "batch pos"]:
    """Column of the last mark so far; -1 before the first."""
    columns = torch.arange(marks.shape[1]).expand(marks.shape)
    return torch.where(marks, columns, -1).cummax(dim=-1).values


def tokens(*items: Item) -> Where:
    """Occurrences of words or token ids (the last token, where a word takes several).

    >>> tokens("wait", 151648, (12, 7))  # a word, a token, a run of two tokens
    >>> tokens(("<think>", 151648))  # one thing that models call otherwise: either of them

    Raises:
        BindError: as `Tokens` does.
    """
    return Tokens(items)


def inside(open: Item, close: Item) -> Where:
    """Tokens between two tags, such as inside("<think>", "</think>"); an unclosed tag stays open.

    For models of a pair, of which one may call a tag's token otherwise: inside(*pair.think_marks).

    Raises:
        BindError: as `Inside` does.
    """
    return Inside(open, close)
