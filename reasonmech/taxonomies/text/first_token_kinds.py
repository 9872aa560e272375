"""FirstTokenKinds: kinds of sentence in prose, by learnt first tokens, followed while a text is written."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reasonmech.arguments import check_type
from reasonmech.behaviours.onset_sets import OnsetSets
from reasonmech.door import checked
from reasonmech.errors import DataError, MismatchError
from reasonmech.hosts.growing_ids import GrowingIds
from reasonmech.hosts.spelling import spelling_of
from reasonmech.kinds import Kinds
from reasonmech.rollout import OTHER, STOP


@final
class FirstTokenKinds(Kinds):
    """Kinds that learnt first tokens begin (`OnsetSets`), the end of a text ("stop"), and "other".

    Sentences are cut as by `cut`; a sentence is of the kind whose set has its first token. That is as right
    as the set's precision and recall, which were measured where it was learnt.

    Raises:
        ArgumentError: no onset sets, or no tokenizer. DataError: no set.
        MismatchError: tokens that the tokenizer does not have.
    """

    def __init__(self, onsets: OnsetSets, tokenizer: PreTrainedTokenizerBase) -> None:
        check_type(onsets, OnsetSets, name="onsets", allowed="rm.behaviours.learn_onset_sets(...)")
        check_type(
            tokenizer, PreTrainedTokenizerBase, name="tokenizer", allowed="a tokenizer: host.tokenizer"
        )
        if not onsets.sets:
            raise DataError(
                f"no onset set among {len(onsets.missing)} behaviours", do="learn them on more text"
            )
        size = max(tokenizer.get_vocab().values()) + 1
        if unknown := [t for one in onsets.sets for t in one.tokens if not 0 <= t < size]:
            raise MismatchError(
                f"onset tokens {unknown[:5]} of a vocabulary of {size}",
                allowed="sets that were learnt on texts in this tokenizer's tokens",
                do="learn the onset sets with this model",
            )
        self._names = (*(one.behaviour for one in onsets.sets), STOP, OTHER)
        self.spelling, self.other = spelling_of(tokenizer), len(self._names) - 1
        # one more than the vocabulary: the last stands for the padding of finished rows
        self.of_token = torch.full((size + 1,), self.other)
        for kind, one in enumerate(onsets.sets):
            self.of_token[list(one.tokens)] = kind
        if isinstance(tokenizer.eos_token_id, int):
            self.of_token[tokenizer.eos_token_id] = self._names.index(STOP)

    def __repr__(self) -> str:
        return f"FirstTokenKinds({', '.join(self._names)})"

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    @checked
    def track(self, batch: int) -> FirstTokenTracker:
        return FirstTokenTracker(self, batch)


@final
class FirstTokenTracker:
    """The growing texts of a batch, and the kind that each is writing."""

    def __init__(self, kinds: FirstTokenKinds, batch: int) -> None:
        self._kinds, self._current = kinds, torch.full((batch,), kinds.other)
        self._texts: list[GrowingIds | None] = [None] * batch  # None: nothing is written yet

    @property
    def boundary(self) -> Bool[Tensor, " batch"]:
        """Rows whose next token may begin a sentence; whether it does it says itself ("3." and "14")."""
        return torch.tensor([one is None or one.text.may_begin for one in self._texts], dtype=torch.bool)

    def category(self, proposed: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        begun = self._kinds.of_token[proposed.clamp(max=len(self._kinds.of_token) - 1)]
        if all(one is None for one in self._texts):
            return begun
        begins = [
            one is None or one.copy().write(self._kinds.spelling.piece(token).text) is not None
            for one, token in zip(self._texts, proposed.tolist(), strict=True)
        ]
        ends = self.boundary & (begun == self._kinds.names.index(STOP))
        return torch.where(torch.tensor(begins, dtype=torch.bool) | ends, begun, self._current)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._current = self.category(tokens)
        texts = [one or GrowingIds(self._kinds.spelling) for one in self._texts]
        for growing, token in zip(texts, tokens.tolist(), strict=True):
            growing.write(self._kinds.spelling.piece(token).text)
        self._texts = [*texts]

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._current = self._current[rows]
        self._texts = [_copied(self._texts[i]) for i in rows.tolist()]

    def copy(self) -> FirstTokenTracker:
        copied = FirstTokenTracker(self._kinds, 0)
        copied._current, copied._texts = self._current, list(map(_copied, self._texts))
        return copied

    def put(self, rows: Int[Tensor, " row"], other: FirstTokenTracker, others: Int[Tensor, " row"]) -> None:
        self._current = self._current.index_copy(0, rows, other._current[others])
        for row, one in zip(rows.tolist(), others.tolist(), strict=True):
            self._texts[row] = _copied(other._texts[one])


def _copied(growing: GrowingIds | None) -> GrowingIds | None:
    return None if growing is None else growing.copy()
