"""StopStrings: which rows have just written one of some texts, wherever the borders of their tokens lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reasonmech.hosts.spelling import spelling_of
from reasonmech.hosts.words import is_writable, unknown_word


def check_stop_strings(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise UnknownNameError for a text that no tokens of this tokenizer write: it would never be found."""
    for text in texts:
        if not is_writable(tokenizer, text):
            raise unknown_word(tokenizer, text)


@final
class StopStrings:
    """Reads what rows write, byte by byte; a text is found when its last byte is there.

    A text that begins in the prompt is not found: what is looked for is what was written.
    """

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, n_rows: int) -> None:
        self._texts = [text.encode() for text in texts]
        self._tokenizer = tokenizer
        self._reach = max((len(text) for text in self._texts), default=0)
        self._tails = [b""] * n_rows

    def ended(self, rows: Int[Tensor, " row"], tokens: Int[Tensor, " row"]) -> Bool[Tensor, " row"]:
        """Whether each of these rows, with one token more, has written a text. All on the CPU."""
        if not self._texts:
            return torch.zeros(len(rows), dtype=torch.bool)
        spelling = spelling_of(self._tokenizer)
        hits = []
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            text = self._tails[row] + spelling.piece(token).text
            hits.append(any(stop in text for stop in self._texts))
            self._tails[row] = text[-(self._reach - 1) :] if self._reach > 1 else b""
        return torch.tensor(hits, dtype=torch.bool)
