"""A mask that names the first tokens of sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import torch

from reasonmech.arguments import as_sequence
from reasonmech.errors import BindError, UnknownNameError
from reasonmech.hosts.words import is_writable
from reasonmech.interventions.masks.finders import finder_of
from reasonmech.interventions.masks.occurrences import Finder
from reasonmech.interventions.masks.where import Where, masks
from reasonmech.interventions.masks.words import BoundWords
from reasonmech.shapes import Mask
from reasonmech.step import Step

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENDS: Final = (".", "!", "?", "\n")


@masks.register("sentence_starts")
@final
@dataclass(frozen=True, repr=False)
class SentenceStarts(Where):
    """The first token of the text, the first generated one, and every token after one that ends a sentence.

    A token ends a sentence when it completes one of `ends` and holds nothing but blanks behind it, or when it
    holds a line break (where that is one of them).

    Attributes:
        ends: what a sentence ends with; one string is one end.
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
        ends = [end for end in self.ends if is_writable(tokenizer, end)]
        if not ends:
            raise UnknownNameError(
                "sentence end", "/".join(self.ends), ["ends that some text of this tokenizer has"]
            )
        # whatever stands behind a line break in its token
        finders = (finder_of(end, tokenizer, last=end != "\n") for end in ends)
        return BoundSentenceStarts(self, tuple(finders))


@final
@dataclass(frozen=True, repr=False)
class BoundSentenceStarts(BoundWords):
    """`SentenceStarts` of a tokenizer."""

    ends: tuple[Finder, ...]
    kind = "sentence_starts"

    def mask(self, step: Step) -> Mask:
        ending = torch.zeros_like(step.mask)
        for end in self.ends:
            ending |= end.ends(step)
        starting = torch.zeros_like(ending)
        # of several ends in a row ("?!") the last one ends the sentence
        starting[:, 1:] = ending[:, :-1] & ~ending[:, 1:]
        at = step.positions
        return starting | (at == 0) | (at == step.prompt_length[:, None])


def sentence_starts(ends: str | tuple[str, ...] = ENDS) -> Where:
    """First tokens of sentences. What *chooses* such a token is the one before: tokens(".") names those."""
    return SentenceStarts((ends,) if isinstance(ends, str) else ends)
