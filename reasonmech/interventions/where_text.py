"""Masks that read the text: given tokens, spans between tags, starts of sentences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias, final

import torch
from jaxtyping import Int
from torch import Tensor

from reasonmech.errors import BindError, UnknownNameError
from reasonmech.interventions.where import Where, masks
from reasonmech.shapes import Mask
from reasonmech.step import Step

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pattern: TypeAlias = tuple[int, ...]
ENDS: Final = (".", "!", "?", "\n")


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
    found = step.text == pattern[-1]
    for back, token in enumerate(reversed(pattern[:-1]), start=1):
        earlier = torch.zeros_like(found)
        earlier[:, back:] = step.text[:, :-back] == token
        found &= earlier
    return found


def _resolved(pattern: int | str | Pattern) -> Pattern:
    if not isinstance(pattern, tuple):
        raise BindError(
            f"the mask still holds the word {pattern!r}", do="bind(plan, host) turns words into tokens"
        )
    return pattern


@final
@dataclass(frozen=True)
class Tokens(Where):
    """The last token of every occurrence of the given words, token ids, or runs of token ids."""

    items: tuple[int | str | Pattern, ...]
    kind = "tokens"

    def mask(self, step: Step) -> Mask:
        found = torch.zeros_like(step.mask)
        for item in self.items:
            found |= ends_of(_resolved(item), step)
        return found

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return Tokens(tuple(pattern_of(item, tokenizer) for item in self.items))


@final
@dataclass(frozen=True)
class Inside(Where):
    """From the last token of an opening tag (included) to the last token of the next closing one
    (excluded)."""

    open: int | str | Pattern
    close: int | str | Pattern
    kind = "inside"

    def mask(self, step: Step) -> Mask:
        return _last(ends_of(_resolved(self.open), step)) > _last(ends_of(_resolved(self.close), step))

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        return Inside(pattern_of(self.open, tokenizer), pattern_of(self.close, tokenizer))


def _last(marks: Mask) -> Int[Tensor, "batch pos"]:
    """Column of the last mark so far; -1 before the first."""
    columns = torch.arange(marks.shape[1]).expand(marks.shape)
    return torch.where(marks, columns, -1).cummax(dim=-1).values


@final
@dataclass(frozen=True)
class SentenceStarts(Where):
    """The first token of the text, the first generated one, and every token after one that ends a sentence.

    A token ends a sentence when its text, trailing blanks aside, ends with one of `ends` or holds a line
    break.
    """

    ends: tuple[str, ...] = ENDS
    ids: tuple[int, ...] = ()
    kind = "sentence_starts"

    def __str__(self) -> str:
        return "sentence_starts()" if self.ends == ENDS else f"sentence_starts(ends={self.ends!r})"

    def mask(self, step: Step) -> Mask:
        if not self.ids:
            raise BindError(
                "sentence_starts() is not bound", do="bind(plan, host) finds the tokens that end one"
            )
        ending = torch.isin(step.text, torch.tensor(self.ids))
        after = torch.zeros_like(ending)
        after[:, 1:] = ending[:, :-1] & ~ending[:, 1:]
        at = step.positions
        return after | (at == 0) | (at == step.prompt_length[:, None])

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Where:
        if self.ids:
            return self
        vocabulary = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
        texts = tokenizer.batch_decode([[i] for i in vocabulary], clean_up_tokenization_spaces=False)
        breaks = "\n" in self.ends
        ids = tuple(
            i
            for i, text in zip(vocabulary, texts, strict=True)
            if text.rstrip(" ").endswith(self.ends) or (breaks and "\n" in text)
        )
        if not ids:
            raise UnknownNameError(
                "sentence end", "/".join(self.ends), ["ends that some token of this tokenizer has"]
            )
        return replace(self, ids=ids)


def _is_pattern(item: object) -> bool:
    if isinstance(item, tuple):
        return bool(item) and all(isinstance(token, int) for token in item)
    return isinstance(item, int) or (isinstance(item, str) and item != "")


def tokens(*items: int | str | Pattern) -> Where:
    """Occurrences of words or token ids (the last token, where a word takes several)."""
    wrong = [item for item in items if not _is_pattern(item)]
    if not items or wrong:
        raise BindError(
            f"tokens() was given {wrong[0]!r}" if wrong else "tokens() without a token",
            allowed="words, token ids, or tuples of token ids (a run of tokens)",
            do="write several as tokens(a, b), or tokens(*them)",
        )
    return Tokens(items)


def inside(open: int | str | Pattern, close: int | str | Pattern) -> Where:
    """Tokens between two tags, such as inside("<think>", "</think>"); an unclosed tag stays open."""
    return Inside(open, close)


def sentence_starts(ends: tuple[str, ...] = ENDS) -> Where:
    """First tokens of sentences. What *chooses* such a token is the one before: tokens(".") names those."""
    return SentenceStarts(ends)


for _mask in (Tokens, Inside, SentenceStarts):
    masks.register(_mask.kind)(_mask)
