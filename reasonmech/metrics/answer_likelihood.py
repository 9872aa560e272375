"""answer_likelihood: how likely the reference answer is, beside other answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.interventions.canonical import Json
from reasonmech.metrics.base import Answer, answers_of, check_host, check_number, metrics, runs_of
from reasonmech.runtime.readout import Continuation, Reading, Run

Against = Literal["logsumexp", "mean"]


@checked
@final
@dataclass(frozen=True)
class AnswerLikelihood:
    """Made by `answer_likelihood`.

    Attributes:
        runs: per text the reference answer and then its distractors, as token ids; of one that was given as
            a text, those that it has inside a text.
        against: how distractors are put together.
        answers: the same as they were given. A text is read as the tokens that it has behind each text.
    """

    runs: tuple[tuple[Run, ...], ...]
    against: Against = "logsumexp"
    answers: tuple[tuple[Continuation, ...], ...] = ()
    name = "answer_likelihood"
    unit = "nats"

    def __post_init__(self) -> None:
        if not self.runs:
            raise DataError("answer_likelihood without a reference answer: it would read nothing")
        if self.against not in get_args(Against):
            raise UnknownNameError("way to put distractors together", str(self.against), get_args(Against))
        if len({len(runs) == 1 for runs in self.runs}) > 1:
            raise DataError(
                "answer_likelihood with distractors for some texts and none for others",
                do="give every text at least one distractor, or none to all: values must be comparable",
            )
        for text, runs in enumerate(self.runs):
            if len(set(runs)) < len(runs):
                raise DataError(f"answer_likelihood of text {text} names the answer {_twice(runs)} twice")

    @checked
    def continuations(self, host: Host, n_texts: int) -> Sequence[Sequence[Continuation]]:
        check_number(self.name, len(self.runs), n_texts)
        return self.answers or self.runs

    def value(self, reading: Reading) -> Float[Tensor, " text"]:
        reference, others = reading.logp[:, 0], reading.logp[:, 1:]
        if others.shape[1] == 0:
            return reference
        number = torch.tensor([len(self.runs[row]) - 1 for row in reading.rows.tolist()]).to(others.device)
        if self.against == "logsumexp":
            return reference - others.logsumexp(-1)
        # texts with fewer distractors are filled up with -inf, which would spoil the sum
        filled = torch.arange(others.shape[1], device=others.device) < number[:, None]
        return reference - others.where(filled, others.new_zeros(())).sum(-1) / number

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": self.name,
            "against": self.against,
            "runs": [[list(run) for run in runs] for runs in self.runs],
        }


def _twice(runs: Sequence[Run]) -> Run:
    return next(run for run in runs if list(runs).count(run) > 1)


@metrics.register("answer_likelihood")
def answer_likelihood(
    host: Host,
    references: Sequence[Answer],
    *,
    distractors: Sequence[str | Sequence[Answer]] = (),
    against: Against = "logsumexp",
) -> AnswerLikelihood:
    """log p(reference | text) - log sum_d p(distractor d | text) in nats; "mean": the mean of log p instead.

    The likelihood of a reference answer after a model's own reasoning is the reward of VeriFree (Zhou et al.
    2025, arXiv 2505.21493); ours is its logarithm, minus that of wrong answers of the same form, because an
    edit that makes every number likelier should not look like one that makes the right one likelier.

    Args:
        references: one answer per text (a text or a run of token ids), exactly as it would go on: " yes"
            behind "Answer:". A text is read as its part of the encoding of both together; where that has no
            border between the two ("Answer: " and "yes"), the run refuses it with the tokens.
        distractors: per text its wrong answer, or several; none at all leaves the log-likelihood alone.

    Raises:
        DataError: no reference, an answer that is empty or unknown to the tokenizer, or is named twice.
    """
    check_host(host, do="rm.metrics.answer_likelihood(host, references)")
    references = answers_of(references, name="references", do="write [answer, ...], one answer per text")
    do = "write [[wrong, ...], ...], one per text"
    distractors = answers_of(distractors, name="distractors", do=do)
    for wrong in distractors:
        if not isinstance(wrong, str):
            answers_of(wrong, name="distractors of a text", do=do)
    if distractors and len(distractors) != len(references):
        raise DataError(f"distractors for {len(distractors)} texts, references for {len(references)}")
    others = [[wrong] if isinstance(wrong, str) else wrong for wrong in distractors or [()] * len(references)]
    of_texts = [(reference, *wrong) for reference, wrong in zip(references, others, strict=True)]
    runs = tuple(tuple(runs_of(host, answer)[0] for answer in answers) for answers in of_texts)
    as_given = [
        tuple(answer if isinstance(answer, str) else run for answer, run in zip(*pair, strict=True))
        for pair in zip(of_texts, runs, strict=True)
    ]
    return AnswerLikelihood(runs, against, tuple(as_given))
