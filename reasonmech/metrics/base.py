"""What all metrics share: the open registry, the protocol of those that read rollouts, and answers as token
ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.registry import Registry
from reasonmech.rollout import Rollouts
from reasonmech.runtime.readout import Reading, Readout, Run

Word: TypeAlias = str | int  # a text that is one token, or a token id
Answer: TypeAlias = str | tuple[int, ...]  # a text, or a run of token ids


class RolloutMetric(Protocol):
    """A metric on what a model wrote."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    @property
    def unit(self) -> str:
        """Its unit."""
        ...

    def measure(self, rollouts: Rollouts) -> Float[np.ndarray, " rollout"]:
        """One number per rollout; NaN where a rollout gives the metric nothing to measure."""
        ...


metrics: Registry[Callable[..., Readout | RolloutMetric]] = Registry("metric")


def run_of(host: Host, answer: Answer) -> Run:
    """Token ids of an answer, exactly as written: " yes" and "yes" may be different tokens, and no BOS is put
    in front.

    Raises:
        DataError: it is empty, or holds something that the tokenizer or the model does not know.
    """
    ids = (
        tuple(host.tokenizer.encode(answer, add_special_tokens=False)) if isinstance(answer, str) else answer
    )
    special: Any = host.tokenizer  # transformers types a special token as anything a config may hold
    if isinstance(answer, str) and answer != special.unk_token and special.unk_token_id in ids:
        raise DataError(
            f"the answer {answer!r} holds a word that the tokenizer of {host.name!r} does not know",
            do="write it as the tokenizer would, or give its token ids",
        )
    if not ids or not all(0 <= token < host.vocab_size for token in ids):
        raise DataError(
            f"the answer {answer!r} is the tokens {ids}: there is nothing to read",
            allowed=f"at least one token below {host.vocab_size}",
        )
    return ids


def token_of(host: Host, word: Word) -> int:
    """The token id of a word that is one token.

    Raises:
        DataError: it is not.
    """
    ids = run_of(host, word if isinstance(word, str) else (word,))
    if len(ids) == 1:
        return ids[0]
    raise DataError(
        f"{word!r} is {len(ids)} tokens: {[host.decode([token]) for token in ids]}",
        allowed="a word of one token",
        do="choose other words, or use answer_likelihood, which reads whole answers",
    )


def check_number(name: str, given: int, n_texts: int) -> None:
    """Raise DataError unless a metric that speaks of every text by itself speaks of as many as there are."""
    if given != n_texts:
        raise DataError(
            f"metric {name!r} was given {given} entries, the run has {n_texts} texts",
            do="give one entry per text, in the order of the texts",
        )


def own(values: Tensor, reading: Reading) -> Tensor:
    """Each text's own entry of values [text of the run, ...], on the device of the reading."""
    return values.to(reading.logits.device)[reading.rows.to(reading.logits.device)]


def no_runs(n_texts: int) -> Sequence[Sequence[Run]]:
    """The continuations of a metric that reads next-token logits only."""
    return [()] * n_texts


def logsumexp_where(logp: Float[Tensor, "text n"], keep: Tensor) -> Float[Tensor, " text"]:
    """log of the summed probability of the entries to keep (-inf where there is none), with a finite
    gradient."""
    some = keep.any(-1)
    filled = torch.where(keep, logp, torch.full_like(logp, -torch.inf))
    safe = torch.where(some[:, None], filled, torch.zeros_like(logp))
    return torch.where(some, safe.logsumexp(-1), torch.full_like(logp[:, 0], -torch.inf))
