"""Finders: what finds a word, a run of token ids, or one of several names, in the texts of a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, final

import torch

from reasonmech.hosts.spelling import Spelling, spelling_of
from reasonmech.hosts.words import is_writable, unknown_word
from reasonmech.interventions.masks.occurrences import Finder, Occurrence, Pattern, RunFinder, WordFinder
from reasonmech.shapes import Mask
from reasonmech.step import Step

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Names: TypeAlias = tuple[str | int, ...]  # of one thing: any of them
Item: TypeAlias = int | str | Pattern | Names


@final
class AnyFinder(Finder):
    """Finds whatever one of several finders finds."""

    def __init__(self, spelling: Spelling, finders: Sequence[Finder]) -> None:
        super().__init__(spelling)
        self._finders = tuple(finders)

    @property
    def run(self) -> Pattern:
        return self._finders[0].run

    def ends(self, step: Step) -> Mask:
        return torch.stack([finder.ends(step) for finder in self._finders]).any(0)

    def ending_at(self, ids: Sequence[int], at: int) -> list[Occurrence]:
        occurrences = {one for finder in self._finders for one in finder.ending_at(ids, at)}
        return sorted(occurrences, key=lambda one: (one.stop, one.start))

    def whole(self, step: Step) -> Mask:
        return torch.stack([finder.whole(step) for finder in self._finders]).any(0)

    def absence(self, texts: Sequence[Sequence[int]]) -> str:
        reasons = [finder.absence(texts) for finder in self._finders]
        return "; ".join(reasons) if all(reasons) else ""


def finder_of(item: Item, tokenizer: PreTrainedTokenizerBase, *, last: bool = False) -> Finder:
    """What finds an item in the texts of a tokenizer; ids stand for themselves.

    Of several names of one thing, such as ("<think>", 151648), those count that the tokenizer can write.

    Args:
        last: only occurrences behind which nothing but blanks stands in their last token.

    Raises:
        UnknownNameError: the tokenizer cannot write the word.
    """
    return _finder(tokenizer, len(tokenizer), (item,) if isinstance(item, int) else item, last)


@lru_cache(maxsize=64)
def _finder(tokenizer: PreTrainedTokenizerBase, size: int, item: str | Pattern | Names, last: bool) -> Finder:
    if isinstance(item, tuple):
        run = tuple(token for token in item if isinstance(token, int))
        if len(run) == len(item):
            return RunFinder(spelling_of(tokenizer), run)
        names = [name for name in item if isinstance(name, int) or is_writable(tokenizer, name)]
        finders = [finder_of(name, tokenizer, last=last) for name in names]
        return AnyFinder(spelling_of(tokenizer), finders)
    if not is_writable(tokenizer, item):
        raise unknown_word(tokenizer, item)
    return WordFinder(spelling_of(tokenizer), item, last=last)
