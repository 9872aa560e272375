"""Masks that read words: given tokens, and spans between tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, final

import torch
from jaxtyping import Int
from torch import Tensor

from reasonmech.arguments import describe
from reasonmech.errors import BindError, UnknownNameError
from reasonmech.interventions.masks.where import Where, masks
from reasonmech.shapes import Mask
from reasonmech.step import Step

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pattern: TypeAlias = tuple[int, ...]
ALLOWED: Final = "words, token ids, or tuples of token ids (a run of tokens)"


def pattern_of(item: int | str | Pattern, tokenizer: PreTrainedTokenizerBase) -> Pattern:
    """Token ids of a word; an id stands for itself.

    Raises:
        UnknownNameError: the tokenizer has no token for the word.
    """
    if isinstance(item, int):
        return (item,)
    if isinstance(item, tuple):
        return item
    ids = tuple(tokenizer.encode(item, add_special_tokens=False))
    if not ids or tokenizer.unk_token_id in ids:
        raise UnknownNameError(
            "word",
            item,
            [f"words of this tokenizer ({len(tokenizer)} tokens)"],
            do="give token ids, or check the blanks",
        )
    return ids


def ends_of(pattern: Pattern, step: Step) -> Mask:
    """Tokens with which an occurrence of the pattern ends [batch, seq]."""
    ends = step.text == pattern[-1]
    for back, token in enumerate(reversed(pattern[:-1]), start=1):
        earlier = torch.zeros_like(ends)
        earlier[:, back:] = step.text[:, :-back] == token
        ends &= earlier
    return ends


def _resolved(pattern: int | str | Pattern) -> Pattern:
    if not isinstance(pattern, tuple):
        raise BindError(
            f"the mask still holds the word {pattern!r}", do="bind(plan, host) turns words into tokens"
        )
    return pattern


def _is_pattern(item: object) -> bool:
    if isinstance(item, tuple):
        return bool(item) and all(isinstance(token, int) for token in item)
    # True is an int, and no token
    return (isinstance(item, int) and not isinstance(item, bool)) or (isinstance(item, str) and item != "")


@masks.register("tokens")
@final
@dataclass(frozen=True, repr=False)
class Tokens(Where):
    """The last token of every occurrence of the given words, token ids, or runs of token ids.

    Raises:
        BindError: no item, or one that is no word, no token id and no run of them.
    """

    items: tuple[int | str | Pattern, ...]
    kind = "tokens"

    def __post_init__(self) -> None:
        wrong = [item for item in self.items if not _is_pattern(item)]
        if not self.items or wrong:
            raise BindError(
                f"tokens() was given {describe(wrong[0])}" if wrong else "tokens() without a token",
                allowed=ALLOWED,
                do="write several as tokens(a, b), or tokens(*them)",
            )

    def mask(self, step: Step) -> Mask:
        marks = torch.zeros_like(step.mask)
        for item in self.items:
            marks |= ends_of(_resolved(item), step)
        return marks

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return Tokens(tuple(pattern_of(item, tokenizer) for item in self.items))


@masks.register("inside")
@final
@dataclass(frozen=True, repr=False)
class Inside(Where):
    """From the last token of an opening tag (included) to the last token of the next closing one (excluded).

    Raises:
        BindError: a tag that is no word, no token id and no run of them.
    """

    open: int | str | Pattern
    close: int | str | Pattern
    kind = "inside"

    def __post_init__(self) -> None:
        for tag in (self.open, self.close):
            if not _is_pattern(tag):
                raise BindError(
                    f"inside() was given {describe(tag)}",
                    allowed=ALLOWED,
                    do='rm.interventions.inside("<think>", "</think>")',
                )

    def mask(self, step: Step) -> Mask:
        return _last(ends_of(_resolved(self.open), step)) > _last(ends_of(_resolved(self.close), step))

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return Inside(pattern_of(self.open, tokenizer), pattern_of(self.close, tokenizer))


def _last(marks: Mask) -> Int[Tensor, "batch pos"]:
    """Column of the last mark so far; -1 before the first."""
    columns = torch.arange(marks.shape[1]).expand(marks.shape)
    return torch.where(marks, columns, -1).cummax(dim=-1).values


def tokens(*items: int | str | Pattern) -> Where:
    """Occurrences of words or token ids (the last token, where a word takes several).

    Raises:
        BindError: as `Tokens` does.
    """
    return Tokens(items)


def inside(open: int | str | Pattern, close: int | str | Pattern) -> Where:
    """Tokens between two tags, such as inside("<think>", "</think>"); an unclosed tag stays open.

    Raises:
        BindError: as `Inside` does.
    """
    return Inside(open, close)
