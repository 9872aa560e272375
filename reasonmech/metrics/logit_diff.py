"""logit_diff: by how much the model prefers one token over another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.arguments import describe
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.canonical import Json
from reasonmech.metrics.base import Word, check_host, check_number, entries_read, metrics, no_runs, token_of
from reasonmech.runtime.readout import Reading, Run

Words: TypeAlias = Word | Sequence[Word]
WORDS: Final = "a word of one token, a token id, or a list with one per text"
CALL: Final = 'rm.logit_diff(host, good=" yes", bad=" no")'


@checked
@final
@dataclass(frozen=True)
class LogitDiff:
    """Made by `logit_diff`.

    Attributes:
        good, bad: token ids, one for all texts or one per text.
    """

    good: tuple[int, ...]
    bad: tuple[int, ...]
    name = "logit_diff"
    unit = "logits"

    def __post_init__(self) -> None:
        if not self.good or len(self.good) != len(self.bad):
            raise DataError(
                f"logit_diff of {len(self.good)} good and {len(self.bad)} bad tokens: it would read nothing",
                allowed="as many good tokens as bad ones, at least one of each",
            )
        if same := [a for a, b in zip(self.good, self.bad, strict=True) if a == b]:
            raise DataError(f"logit_diff of token {same[0]} with itself is 0 whatever the model says")

    @checked
    def continuations(self, host: Host, n_texts: int) -> Sequence[Sequence[Run]]:
        if len(self.good) > 1:
            check_number(self.name, len(self.good), n_texts)
        return no_runs(n_texts)

    def value(self, reading: Reading) -> Float[Tensor, " text"]:
        pairs = torch.tensor([self.good, self.bad]).T
        if len(pairs) == 1:  # one pair for all texts
            pairs = pairs.expand(int(reading.rows.max()) + 1, 2)
        pairs = entries_read(pairs, reading)
        good, bad = reading.logits.gather(1, pairs).unbind(1)
        return good - bad

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.name, "good": list(self.good), "bad": list(self.bad)}


@metrics.register("logit_diff")
def logit_diff(host: Host, good: Words | None = None, bad: Words | None = None) -> LogitDiff:
    """logit(good) - logit(bad) of the next token after a text, in logits.

    The metric of Wang et al. 2023 (arXiv 2211.00593, section 2) per text; a difference of logits is one of
    log-probabilities, too. It sees two tokens only: where a behaviour can begin in several ways,
    `onset_log_odds`.

    Args:
        good, bad: words of one token each, or token ids; one for all texts, or a sequence with one per text.

    Raises:
        ArgumentError: no host, or something that is no word; one of good and bad is missing.
        DataError: a word that is not one known token, different numbers of words, or a word against itself.
    """
    check_host(host, do=CALL)
    good_ids, bad_ids = _tokens(host, good, "good"), _tokens(host, bad, "bad")
    if isinstance(good, str | int):
        good_ids *= len(bad_ids)
    elif isinstance(bad, str | int):
        bad_ids *= len(good_ids)
    return LogitDiff(good_ids, bad_ids)


def _tokens(host: Host, words: Words | None, name: str) -> tuple[int, ...]:
    """Token ids of one word for all texts, or of one word per text."""
    if isinstance(words, str | int):
        return (token_of(host, words),)
    if not isinstance(words, Sequence):
        raise ArgumentError(f"{name} is {describe(words)}", allowed=WORDS, do=CALL)
    return tuple(token_of(host, word) for word in words)
