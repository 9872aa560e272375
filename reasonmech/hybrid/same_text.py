"""Arms that write the same text, and steered tokens that are first words of sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

import torch

from reasonmech.errors import DataError
from reasonmech.kinds import Kinds, sentence_starts
from reasonmech.rollout import Rollout

AS_GOOD_AS_ONE: Final = 0.95  # share of problems from which two arms are said to write one text


class SameText(NamedTuple):
    """Two arms, and on how many of `n` problems both write exactly the same tokens, in every sample."""

    arm: str
    other: str
    equal: int
    n: int

    @property
    def share(self) -> float:
        return self.equal / self.n

    @property
    def is_one(self) -> bool:
        """Whether a difference between the two arms can hardly be one of their texts."""
        return self.share >= AS_GOOD_AS_ONE

    def __str__(self) -> str:
        return f"{self.arm} writes what {self.other} writes on {self.equal} of {self.n} problems"


def same_texts(answers: Mapping[str, Sequence[Rollout]]) -> list[SameText]:
    """Every pair of arms, compared token by token, in the order of the arms.

    Args:
        answers: arm -> its rollouts, all of the same problems and samples in one order.

    Raises:
        DataError: arms that answered different problems, or none.
    """
    rows = {name: [(r.problem.id, r.sample) for r in rollouts] for name, rollouts in answers.items()}
    first = next(iter(rows), "")
    for name, of_arm in rows.items():
        if not of_arm or of_arm != rows[first]:
            raise DataError(
                f"arms {first!r} and {name!r} did not answer the same problems ({len(rows[first])} and "
                f"{len(of_arm)} rollouts)",
                do="compare arms on one set of problems, in one order",
            )
    return [_compare(a, b, answers[a], answers[b]) for a, b in combinations(answers, 2)]


def _compare(arm: str, other: str, texts: Sequence[Rollout], others: Sequence[Rollout]) -> SameText:
    equal: dict[str, bool] = {}
    for a, b in zip(texts, others, strict=True):
        equal[a.problem.id] = equal.get(a.problem.id, True) and a.ids == b.ids
    return SameText(arm, other, sum(equal.values()), len(equal))


class FirstWords(NamedTuple):
    """How many of an arm's steered tokens are first words of sentences."""

    first: int
    steered: int

    def __str__(self) -> str:
        return f"{self.first} of {self.steered} steered tokens are first words of sentences"


def first_words(rollouts: Sequence[Rollout], kinds: Kinds) -> FirstWords:
    """Count steered tokens that the model chose, and those of them with which a sentence begins."""
    first = steered = 0
    for rollout, starts in zip(rollouts, sentence_starts(kinds, [r.ids for r in rollouts]), strict=True):
        chosen = torch.tensor(rollout.steered) & ~torch.tensor(rollout.by_environment)
        first, steered = first + int((chosen & starts).sum()), steered + int(chosen.sum())
    return FirstWords(first, steered)


def sentences(pairs: Sequence[SameText]) -> list[str]:
    """Which arms write one text, a sentence each; arms that all write the same are named together."""
    classes: list[list[str]] = []
    exact = {frozenset((p.arm, p.other)) for p in pairs if p.equal == p.n}
    for name in dict.fromkeys(name for p in pairs for name in (p.arm, p.other)):
        home = next((c for c in classes if frozenset((c[0], name)) in exact), None)
        if home is None:
            classes.append([name])
        else:
            home.append(name)
    of_name = {name: i for i, c in enumerate(classes) for name in c}
    lines = []
    for c in classes:
        if len(c) == 2:
            lines.append(str(next(p for p in pairs if {p.arm, p.other} == {*c})))
        elif len(c) > 2:
            n = pairs[0].n
            lines.append(f"{', '.join(c[:-1])} and {c[-1]} write one text on {n} of {n} problems")
    stated: set[frozenset[int]] = set()
    for p in pairs:
        between = frozenset((of_name[p.arm], of_name[p.other]))
        if p.is_one and len(between) == 2 and between not in stated:
            stated.add(between)
            lines.append(str(p))
    return lines
