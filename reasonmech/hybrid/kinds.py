"""Which kind of sentence is being written, row by row, while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reasonmech.errors import DataError
from reasonmech.tasks import tasks

OTHER = "other"
STOP = "stop"


@final
class Kinds:
    """Categories of a task: its kinds of sentence, the end ("stop"), and "other".

    The category of a token is the kind of the sentence it belongs to; at a sentence boundary, the kind that
    the token would begin. Read from tokens by position, never by searching text.
    """

    def __init__(self, onset_words: Mapping[str, str], tokenizer: PreTrainedTokenizerBase) -> None:
        vocabulary = tokenizer.get_vocab()
        missing = [word for word in (*onset_words.values(), ".") if word not in vocabulary]
        if missing or tokenizer.eos_token is None:
            raise DataError(
                "the tokenizer has no single token for "
                f"{', '.join(map(repr, missing)) or 'the end of a text'}",
                allowed="one token for every onset word, the full stop and the end",
                do="use a task whose kinds begin with one token of this tokenizer",
            )
        self.names: tuple[str, ...] = (*onset_words, STOP, OTHER)
        self.other = len(self.names) - 1
        self.of_token = torch.full(
            (max(vocabulary.values()) + 2,), self.other
        )  # the last stands for padded rows
        for kind, word in onset_words.items():
            self.of_token[vocabulary[word]] = self.names.index(kind)
        self.of_token[vocabulary[str(tokenizer.eos_token)]] = self.names.index(STOP)
        self.full_stop: int = vocabulary["."]

    @classmethod
    def of_task(cls, task: str, tokenizer: PreTrainedTokenizerBase) -> Kinds:
        """The kinds of a registered task.

        Raises:
            UnknownNameError: no such task. DataError: its onset words are no single tokens here.
        """
        return cls(tasks.get(task).onset_words, tokenizer)

    def track(self, batch: int) -> KindTracker:
        return KindTracker(self, batch)

    def label(self, tokens: Int[Tensor, " pos"]) -> Int[Tensor, " pos"]:
        """Category of every token of one generated text: what a tracker would say, token by token."""
        tracker, found = self.track(1), []
        for token in tokens:
            found.append(tracker.category(token[None])[0])
            tracker.advance(token[None])
        return torch.stack(found) if found else torch.zeros(0, dtype=torch.long)


@final
class KindTracker:
    """The state of a batch: whether each row stands at a sentence boundary, else the kind it is writing."""

    def __init__(self, kinds: Kinds, batch: int) -> None:
        self._kinds = kinds
        self.boundary: Bool[Tensor, " batch"] = torch.ones(batch, dtype=torch.bool)
        self._current = torch.full((batch,), kinds.other)

    def category(self, proposed: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Category of the next token if it were `proposed` (CPU tensors)."""
        known = proposed.clamp(max=len(self._kinds.of_token) - 1)
        return torch.where(self.boundary, self._kinds.of_token[known], self._current)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._current = self.category(tokens)
        self.boundary = tokens == self._kinds.full_stop

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        self.boundary, self._current = self.boundary[rows], self._current[rows]
