"""A mask that names the first tokens of sentences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

import torch

from reasonmech.arguments import as_sequence
from reasonmech.errors import BindError, UnknownNameError
from reasonmech.interventions.masks.where import Where, masks
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

    A token ends a sentence when its text, trailing blanks aside, ends with one of `ends` or holds a line
    break (where that is one of them).

    Attributes:
        ends: what a sentence ends with; one string is one end.
        ids: the tokens that end one, once the mask is bound.
    """

    ends: tuple[str, ...] = ENDS
    ids: tuple[int, ...] = ()
    kind = "sentence_starts"

    def __post_init__(self) -> None:
        ends = as_sequence(self.ends, str, name="ends of sentence_starts()", allowed="texts such as '.'")
        object.__setattr__(self, "ends", tuple(ends))

    def __str__(self) -> str:
        return "sentence_starts()" if self.ends == ENDS else f"sentence_starts(ends={self.ends!r})"

    def mask(self, step: Step) -> Mask:
        if not self.ids:
            raise BindError(
                "sentence_starts() is not bound", do="bind(plan, host) finds the tokens that end one"
            )
        ending = torch.isin(step.text, torch.tensor(self.ids))
        starting = torch.zeros_like(ending)
        # of several ends in a row ("?!") the last one ends the sentence
        starting[:, 1:] = ending[:, :-1] & ~ending[:, 1:]
        at = step.positions
        return starting | (at == 0) | (at == step.prompt_length[:, None])

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


def sentence_starts(ends: str | tuple[str, ...] = ENDS) -> Where:
    """First tokens of sentences. What *chooses* such a token is the one before: tokens(".") names those."""
    return SentenceStarts((ends,) if isinstance(ends, str) else ends)
