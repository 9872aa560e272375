"""What metrics share: the open registry, the protocol of those that read rollouts, answers as token ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reasonmech.arguments import check_type, describe
from reasonmech.errors import ArgumentError, DataError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.hosts.words import Run, token_forms
from reasonmech.registry import Registry
from reasonmech.rollout import Rollouts
from reasonmech.runtime.readout import Reading, Readout

Word: TypeAlias = str | int  # a text that is one token, or a token id
Answer: TypeAlias = str | Sequence[int]  # a text, or a run of token ids
A = TypeVar("A")

A_HOST: Final = "a Host: rm.load_host(...), or one side of rm.load_pair(...)"
AN_ANSWER: Final = "a text, or a list of token ids"


@runtime_checkable
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


def runs_of(host: Host, answer: Answer) -> tuple[Run, ...]:
    """Token ids of an answer where it stands inside a text, exactly as written: " yes" may be another token
    than "yes", and nothing is put in front.

    Returns several runs where a tokenizer writes it in several ways, the commonest first.

    Raises:
        ArgumentError: it is neither a text nor token ids.
        DataError: it is empty, or holds something that the tokenizer or the model does not know.
    """
    if isinstance(answer, str) and answer:
        try:
            return token_forms(host.tokenizer, answer)
        except UnknownNameError as error:
            raise DataError(
                f"the answer {answer!r} holds a word that the tokenizer of {host.name!r} does not know",
                allowed=error.allowed,
                do="write it as the tokenizer would, or give its token ids",
            ) from error
    ids = tuple(
        int(check_type(token, (int, np.integer), name=f"a token of {answer!r}", allowed=AN_ANSWER))
        for token in check_type(answer, Sequence, name="an answer", allowed=AN_ANSWER)
    )
    if not ids or not all(0 <= token < host.vocab_size for token in ids):
        raise DataError(
            f"the answer {answer!r} is the tokens {ids}: there is nothing to read",
            allowed=f"at least one token below {host.vocab_size}",
        )
    return (ids,)


def answers_of(answers: Sequence[A], *, name: str, do: str) -> Sequence[A]:
    """Several answers. One text alone is refused: an answer per text or continuation is meant.

    Raises:
        DataError: it is one text. ArgumentError: it is no sequence.
    """
    if isinstance(answers, str):
        raise DataError(f"{name} {answers!r} is one text", allowed="a list of answers", do=do)
    if isinstance(answers, bytes):
        raise ArgumentError(
            f"{name} is {describe(answers)}", allowed=f"a list of answers, each {AN_ANSWER}", do=do
        )
    return check_type(answers, Sequence, name=name, allowed=f"a list of answers, each {AN_ANSWER}", do=do)


def token_of(host: Host, word: Word) -> int:
    """The token id of a word that is one token.

    Raises:
        ArgumentError: it is neither a text nor a token id. DataError: it is not one token.
    """
    allowed = "a text that is one token, or a token id"
    check_type(word, (str, int, np.integer), name="a word", allowed=allowed)
    if isinstance(word, bool):
        raise ArgumentError(f"a word is {describe(word)}", allowed=allowed)
    runs = runs_of(host, word if isinstance(word, str) else (word,))
    if len(single := [run[0] for run in runs if len(run) == 1]) == 1:
        return single[0]
    raise DataError(
        f"{word!r} is {len(runs[0])} tokens: {host.tokenizer.convert_ids_to_tokens(list(runs[0]))}",
        allowed="a word of one token",
        do="choose other words, or use answer_likelihood, which reads whole answers",
    )


def check_host(host: object, *, do: str) -> Host:
    """The host, if it is one. Raises ArgumentError, with the call that is meant, if it is not."""
    return check_type(host, Host, name="host", allowed=A_HOST, do=do)


def check_rollouts(rollouts: object) -> Rollouts:
    """The rollouts, if they are. Raises ArgumentError for texts, and for a list, which names no task."""
    return check_type(
        rollouts,
        Rollouts,
        name="rollouts",
        allowed="the Rollouts that rm.generate returns",
        do='Rollouts([...], task="chain") puts single ones together',
    )


def check_number(name: str, n_entries: int, n_texts: int) -> None:
    """Raise DataError unless a metric that speaks of every text by itself speaks of as many as there are."""
    if n_entries != n_texts:
        raise DataError(
            f"metric {name!r} was given {n_entries} entries, the run has {n_texts} texts",
            do="give one entry per text, in the order of the texts",
        )


def entries_read(values: Tensor, reading: Reading) -> Tensor:
    """Each read text's entry of values [text of the run, ...], on the device of the reading."""
    return values.to(reading.logits.device)[reading.rows.to(reading.logits.device)]


def no_runs(n_texts: int) -> Sequence[Sequence[Run]]:
    """The continuations of a metric that reads next-token logits only."""
    return [()] * n_texts


def logsumexp_where(logp: Float[Tensor, "text n"], mask: Bool[Tensor, "text n"]) -> Float[Tensor, " text"]:
    """log of the summed probability of the masked entries (-inf where none is), with a finite gradient."""
    any_left = mask.any(-1)
    filled = torch.where(mask, logp, torch.full_like(logp, -torch.inf))
    # an empty row goes in as zeros: the gradient at -inf alone is NaN, and `where` does not stop it
    safe = torch.where(any_left[:, None], filled, torch.zeros_like(logp))
    return torch.where(any_left, safe.logsumexp(-1), torch.full_like(logp[:, 0], -torch.inf))
