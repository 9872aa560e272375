"""Controllers that read neither model: fixed rules, and times that were drawn before anything was written."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hybrid.log import ControllerLog, steered_offsets
from reasonmech.hybrid.parts import Moment
from reasonmech.kinds import Kinds, sentence_starts
from reasonmech.rollout import Rollout
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.decoding.noise import uniform

_STREAM: Final = "hybrid gate at boundaries"


@checked
@dataclass(frozen=True)
class BoundaryGate:
    """Open where a sentence begins, with a fixed probability, blind to both models.

    Attributes:
        rate: probability per boundary.
    """

    rate: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise DataError(
                f"a gate that opens at rate {self.rate}", allowed="a probability per boundary, 0 to 1"
            )

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        if self.rate == 1:
            return moment.boundary
        drawn = uniform(moment.keys, moment.position, stream=f"{_STREAM} {self.seed}")
        return moment.boundary & (drawn < self.rate)


@dataclass(frozen=True)
class FirstTokenGate:
    """Open at the first generated token alone."""

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        return moment.boundary & (moment.sentence == 0)


@checked
@dataclass(frozen=True)
class FixedCategory:
    """One category, whatever the models would do."""

    category: int

    def select(self, moment: Moment) -> Int[Tensor, " batch"]:
        return torch.full_like(moment.category, self.category)


class SteeredText(NamedTuple):
    """Where an arm steered one text.

    Attributes:
        n_sentences: that were begun in it, the end of the text among them.
        n_steered: tokens.
        categories: of the steered tokens, in order.
        sentences: number of the sentence -> category of its first steered token.
    """

    n_sentences: int
    n_steered: int
    categories: tuple[int, ...]
    sentences: Mapping[int, int]


def steered_texts(rollouts: Sequence[Rollout], log: ControllerLog, kinds: Kinds) -> list[SteeredText]:
    """Where an arm steered each of its texts, by sentences."""
    texts = []
    for rollout, starts in zip(rollouts, sentence_starts(kinds, [r.ids for r in rollouts]), strict=True):
        number = (starts.long().cumsum(0) - 1).tolist()
        offsets = steered_offsets(rollout)
        categories = [log.at(rollout, offset).category for offset in offsets]
        sentences: dict[int, int] = {}
        for offset, category in zip(offsets, categories, strict=True):
            sentences.setdefault(number[offset], category)
        texts.append(SteeredText(int(starts.sum()), len(offsets), tuple(categories), sentences))
    return texts


@dataclass(frozen=True, eq=False)
class Schedule:
    """Sentences at whose beginning a text is steered, and towards which category, fixed in advance.

    As a gate it opens there; as a selector it names the category.

    Attributes:
        times: (problem id, sample) -> number of the sentence -> category.
    """

    times: Mapping[tuple[str, int], Mapping[int, int]]

    def __repr__(self) -> str:
        return f"Schedule({sum(map(len, self.times.values()))} sentences of {len(self.times)} texts)"

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        return moment.boundary & (self._scheduled(moment) >= 0)

    def select(self, moment: Moment) -> Int[Tensor, " batch"]:
        return self._scheduled(moment).clamp_min(0)

    def _scheduled(self, moment: Moment) -> Int[Tensor, " batch"]:
        """The category, -1 where nothing is to be steered."""
        sentences = moment.sentence.tolist()
        categories = [
            self.category(row, sentence) for row, sentence in zip(moment.rows, sentences, strict=True)
        ]
        return torch.tensor(categories, dtype=torch.long)

    @checked
    def category(self, row: RowInfo, sentence: int) -> int:
        """The category towards which a sentence of a row is steered; -1 for none.

        Raises DataError where nothing was drawn for the row.
        """
        return self._of(row.problem.id, row.sample).get(sentence, -1)

    def _of(self, problem: str, sample: int) -> Mapping[int, int]:
        times = self.times.get((problem, sample))
        if times is None:
            raise DataError(
                f"no times were drawn for problem {problem!r}, sample {sample}",
                do="let the arm `full` answer the same problems first",
            )
        return times


@dataclass(frozen=True, eq=False)
class Times:
    """Where an arm steered, text by text: what schedules are drawn from.

    Attributes:
        rows: (problem id, sample) of each text.
    """

    rows: tuple[tuple[str, int], ...]
    texts: tuple[SteeredText, ...]

    @classmethod
    def of(cls, rollouts: Sequence[Rollout], log: ControllerLog, kinds: Kinds) -> Times:
        """Where a logged arm steered."""
        rows = tuple((r.problem.id, r.sample) for r in rollouts)
        return cls(rows, tuple(steered_texts(rollouts, log, kinds)))

    @checked
    def shuffled(self, seed: int) -> Schedule:
        """As many steered sentences per text, towards the same categories, among all of its sentences.

        Times and the order of the categories are drawn evenly. A text that ends earlier is steered less
        often; one with more steered tokens than sentences at all of them.
        """
        return Schedule({row: _shuffle(row, text, seed) for row, text in self})

    def of_another_problem(self) -> Schedule:
        """For every text the times and categories of the next problem's.

        Raises DataError where there is one problem only.
        """
        problems = list(dict.fromkeys(problem for problem, _ in self.rows))
        if len(problems) < 2:
            raise DataError(
                "one problem, and no other whose times it could take", allowed="2 problems or more"
            )
        following = dict(zip(problems, [*problems[1:], problems[0]], strict=True))
        by_row = dict(self)
        return Schedule(
            {(problem, sample): by_row[following[problem], sample].sentences for problem, sample in self.rows}
        )

    def __iter__(self) -> Iterator[tuple[tuple[str, int], SteeredText]]:
        return iter(zip(self.rows, self.texts, strict=True))


def _shuffle(row: tuple[str, int], text: SteeredText, seed: int) -> dict[int, int]:
    rng = random.Random(f"{seed}|{row[0]}|{row[1]}")
    n = min(text.n_steered, text.n_sentences)
    sentences = rng.sample(range(text.n_sentences), n)
    return dict(zip(sentences, rng.sample(text.categories, n), strict=True))
