"""OneWordKinds: the kind of a sentence is read off its first token, and one token ends every sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reasonmech.arguments import check_type
from reasonmech.behaviours.base import OnsetWords, onset_phrases
from reasonmech.errors import DataError
from reasonmech.hosts.words import blank_tokens, ending_tokens, is_writable, onset_tokens
from reasonmech.kinds import Kinds
from reasonmech.rollout import OTHER, STOP
from reasonmech.tasks.chain.grammar import FULL_STOP


@final
class OneWordKinds(Kinds):
    """Kinds that begin with one word each or one of several, the end of a text ("stop"), and "other".

        OneWordKinds({"check": "check", "step": ("next", "then")}, tokenizer)

    Read by position, never by search: the first word of a sentence alone decides.

    A word is each token that writes it, with a blank in front or without; where only one of the two is a
    single token, the other one begins a sentence of kind "other". Every token that ends with a full stop, and
    white space or nothing behind it, ends a sentence.

    Args:
        onset_words: kind -> its onset word, or several of which any begins it.

    Raises:
        ArgumentError: no mapping, or no tokenizer.
        DataError: an onset word, the full stop or the end is no single token, or two kinds have one word.
    """

    def __init__(self, onset_words: OnsetWords, tokenizer: PreTrainedTokenizerBase) -> None:
        check_type(onset_words, Mapping, name="onset_words", allowed='a mapping such as {"check": "check"}')
        check_type(
            tokenizer, PreTrainedTokenizerBase, name="tokenizer", allowed="a tokenizer: host.tokenizer"
        )
        vocabulary = tokenizer.get_vocab()
        words = [(kind, word) for kind, named in onset_words.items() for word in onset_phrases(named)]
        onsets = [(kind, word, _single_tokens(word, tokenizer)) for kind, word in words]
        full_stops = ending_tokens(tokenizer, FULL_STOP)
        missing = [repr(word) for _, word, ids in onsets if not ids]
        missing += [] if full_stops else [repr(FULL_STOP)]
        missing += [] if tokenizer.eos_token is not None else ["the end of a text"]
        if missing:
            raise DataError(
                f"the tokenizer has no single token for {', '.join(missing)}",
                allowed="one token for every onset word, the full stop and the end",
                do="use a task whose kinds begin with one token of this tokenizer",
            )
        tokens = [token for _, _, ids in onsets for token in ids]
        if len(set(tokens)) < len(tokens):
            raise DataError(
                f"two kinds begin with one word: {dict(onset_words)}",
                allowed="a word of its own for every kind",
                do="put the two kinds together, or name another word",
            )
        self._names = (*onset_words, STOP, OTHER)
        self.other = len(self._names) - 1
        # one more than the vocabulary: the last stands for the padding of finished rows
        self.of_token = torch.full((max(vocabulary.values()) + 2,), self.other)
        for kind, _, ids in onsets:
            self.of_token[list(ids)] = self._names.index(kind)
        self.of_token[vocabulary[str(tokenizer.eos_token)]] = self._names.index(STOP)
        self.full_stops = torch.tensor(full_stops)
        self.blanks = torch.tensor(blank_tokens(tokenizer), dtype=torch.long)

    def __repr__(self) -> str:
        return f"OneWordKinds({', '.join(self._names)})"

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    def track(self, batch: int) -> OneWordTracker:
        return OneWordTracker(self, batch)


def _single_tokens(word: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    return onset_tokens(tokenizer, word) if is_writable(tokenizer, word) else ()


@final
class OneWordTracker:
    """Whether each row of a batch stands at a sentence boundary, else the kind that it is writing."""

    def __init__(self, kinds: OneWordKinds, batch: int) -> None:
        self._kinds = kinds
        self._boundary = torch.ones(batch, dtype=torch.bool)
        self._current = torch.full((batch,), kinds.other)

    @property
    def boundary(self) -> Bool[Tensor, " batch"]:
        return self._boundary

    def category(self, proposed: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        known = proposed.clamp(max=len(self._kinds.of_token) - 1)  # models may have more tokens than words
        return torch.where(self._boundary, self._kinds.of_token[known], self._current)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._current = self.category(tokens)
        # white space between two sentences is written before the second one begins
        blank = self._boundary & torch.isin(tokens, self._kinds.blanks)
        self._boundary = torch.isin(tokens, self._kinds.full_stops) | blank

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._boundary, self._current = self._boundary[rows], self._current[rows]

    def copy(self) -> OneWordTracker:
        copied = OneWordTracker(self._kinds, 0)
        copied._boundary, copied._current = self._boundary, self._current  # never written in place
        return copied

    def put(self, rows: Int[Tensor, " row"], other: OneWordTracker, others: Int[Tensor, " row"]) -> None:
        self._boundary = self._boundary.index_copy(0, rows, other._boundary[others])
        self._current = self._current.index_copy(0, rows, other._current[others])
