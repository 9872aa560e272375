"""Readout: what is read after every text, as one number per text; metrics implement it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeAlias, final, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.hosts.words import Run, run_after
from reasonmech.runtime.pass_rows import PassRow

Continuation: TypeAlias = Run | str  # token ids, or a text whose ids are those behind the text before it


class Reading(NamedTuple):
    """What a metric may look at.

    Attributes:
        logits: next-token logits after each text, float32.
        logp: log-probability (nats) of every continuation that the metric asked for, in its order; -inf fills
            up where a text has fewer.
        rows: number of each text in the run: which reference, which answer is its own.
    """

    logits: Float[Tensor, "text vocab"]
    logp: Float[Tensor, "text cont"]
    rows: Int[Tensor, " text"]


@runtime_checkable
class Readout(Protocol):
    """A metric on what the model would say next; differentiable."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    @property
    def unit(self) -> str:
        """Its unit, such as "nats"."""
        ...

    def continuations(self, host: Host, n_texts: int) -> Sequence[Sequence[Continuation]]:
        """For every text the runs of tokens whose log-probability it wants; may be empty.

        One that is a text stands for the tokens that it has behind each text (`hosts.run_after`). A run of
        one token costs nothing; a longer one costs a row of its own.
        """
        ...

    def value(self, reading: Reading) -> Float[Tensor, " text"]:
        """One number per text."""
        ...


@final
@dataclass(frozen=True)
class Question:
    """One text and everything that a metric wants to read after it.

    Attributes:
        rows: the text itself, then the text with each continuation of several tokens but its last.
        runs: the continuations, in the metric's order.
        number: of the text in the run.
    """

    rows: tuple[PassRow, ...]
    runs: tuple[Run, ...]
    number: int

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    def logp(self, tails: Sequence[Float[Tensor, "tail vocab"]]) -> Float[Tensor, " cont"]:
        """Log-probability of every continuation, from the last logits of every row (see `tail`)."""
        first = tails[0][-1].float().log_softmax(-1)
        logp, row = [], 0
        for run in self.runs:
            if len(run) == 1:
                logp.append(first[run[0]])
            else:
                row += 1
                lines = tails[row][-len(run) :].float().log_softmax(-1)
                logp.append(lines.gather(1, torch.tensor(run, device=lines.device)[:, None]).sum())
        return torch.stack(logp) if logp else first.new_zeros(0)

    def tail(self, row: int) -> int:
        """How many of the last logits of a row are read."""
        return len(self.rows[row].ids) - len(self.rows[0].ids) + 1


def questions(host: Host, texts: Sequence[PassRow], readout: Readout) -> list[Question]:
    """What has to be run to read a metric after every text.

    Raises:
        DataError: the metric speaks of another number of texts, asks for an empty continuation or an unknown
            token, or for a text that begins in the middle of a token of the text before it.
    """
    continuations = readout.continuations(host, len(texts))
    if len(continuations) != len(texts):
        raise DataError(
            f"metric {readout.name!r} has continuations for {len(continuations)} texts, "
            f"there are {len(texts)}",
            do="give the metric one entry per text",
        )
    of_texts = []
    for number, (text, wanted) in enumerate(zip(texts, continuations, strict=True)):
        runs = [run_after(host.tokenizer, text.ids, c) if isinstance(c, str) else c for c in wanted]
        for run in runs:
            if not run or not all(0 <= token < host.vocab_size for token in run):
                raise DataError(
                    f"metric {readout.name!r} asks for the continuation {run} of {text.name}",
                    allowed=f"at least one token below {host.vocab_size}",
                    do="check the words that the metric was given",
                )
        longer = (replace(text, ids=text.ids + run[:-1]) for run in runs if len(run) > 1)
        of_texts.append(Question((text, *longer), tuple(runs), number))
    return of_texts


def question_batches(of_texts: Sequence[Question], batch_rows: int) -> Iterator[list[Question]]:
    """Questions whose rows make one pass; one that alone has more rows is a pass of its own."""
    batch: list[Question] = []
    rows = 0
    for question in of_texts:
        if batch and rows + question.n_rows > batch_rows:
            yield batch
            batch, rows = [], 0
        batch.append(question)
        rows += question.n_rows
    if batch:
        yield batch


def read(
    readout: Readout, batch: Sequence[Question], tails: Sequence[Sequence[Float[Tensor, "tail vocab"]]]
) -> Float[Tensor, " text"]:
    """The metric after every text, from the last logits of every row of its question; differentiable.

    Raises:
        DataError: the metric returned another shape than one number per text.
    """
    logits = torch.stack([rows[0][-1].float() for rows in tails])
    widest = max((len(question.runs) for question in batch), default=0)
    padded = logits.new_zeros(len(batch), 0)
    if widest:
        logp = [question.logp(rows) for question, rows in zip(batch, tails, strict=True)]
        # texts differ in their number of continuations; one that is not there has probability 0
        lines = [torch.nn.functional.pad(line, (0, widest - len(line)), value=-torch.inf) for line in logp]
        padded = torch.stack(lines)
    numbers = torch.tensor([question.number for question in batch], device=logits.device)
    value = readout.value(Reading(logits, padded, numbers))
    if value.shape != numbers.shape:
        raise DataError(
            f"metric {readout.name!r} returned shape {tuple(value.shape)} for {len(numbers)} texts",
            do="return one number per text",
        )
    return value
