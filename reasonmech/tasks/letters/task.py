"""Task `letters`: problems, parser and grader."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from transformers import PreTrainedTokenizerBase

from reasonmech.problem import Problem
from reasonmech.rollout import Rollout, Trace
from reasonmech.tasks.base import tasks
from reasonmech.tasks.chain.kinds import OneWordKinds
from reasonmech.tasks.chain.sentence import ChainSentence
from reasonmech.tasks.chain.value_task import ValueTask, value_problem
from reasonmech.tasks.chain.world import World
from reasonmech.tasks.letters.environment import LettersEnvironment, digit_tokens
from reasonmech.tasks.letters.grammar import (
    EVALUATED,
    WORLD,
    WORLDS,
    allowed_values,
    evaluate,
    prompt,
    solution,
)
from reasonmech.tasks.letters.parser import parse, read
from reasonmech.tasks.splits import Split, split_of

LENGTHS: Final = (2, 3, 4)
_FEWEST: Final = 4  # values that a slip can leave standing, and the right one


def make_problem(start: int, operations: Sequence[tuple[str, int]], *, id: str) -> Problem:
    """A problem from its numbers; the answer is the last letter's value."""
    return value_problem(prompt(start, operations), start, operations, solution(start, operations), id=id)


def draw(rng: random.Random, split: Split, *, id: str, world: World = WORLD) -> Problem:
    """One random problem of a split.

    All values are within 0 to 9, and from at least four values of each letter the later ones stay there.
    """
    length = rng.choice(LENGTHS)  # before anything is refused: long problems are refused more often
    while True:
        operations = [(rng.choice(world.operators), rng.randrange(1, 9)) for _ in range(length)]
        start = rng.randrange(10)
        if any(len(allowed_values(operations[i:])) < _FEWEST for i in range(len(operations))):
            continue
        if start not in allowed_values(operations):
            continue
        problem = make_problem(start, operations, id=id)
        if split_of(problem.prompt) == split:
            return problem


class Letters(ValueTask):
    """A letters world as a task; see the package docstring."""

    def __init__(self, world: World = WORLD) -> None:
        super().__init__(world)

    def draw(self, rng: random.Random, split: Split, *, id: str) -> Problem:
        return draw(rng, split, id=id, world=self.world)

    def environment(self, seed: int) -> LettersEnvironment:
        world = self.world
        return LettersEnvironment(
            seed=seed, slip=world.slip, read_back=world.read_back, kind_of_word=world.kind_of_word
        )

    def kinds(self, tokenizer: PreTrainedTokenizerBase) -> OneWordKinds:
        digit_tokens(tokenizer)  # the environment's own needs are refused here, too, before any text
        return OneWordKinds(self.world.onset_words, tokenizer)

    def parse(self, rollout: Rollout) -> Trace[ChainSentence]:
        return parse(rollout, self.world.kind_of_word)

    def sentences(self, rollout: Rollout) -> list[ChainSentence]:
        return read(rollout.text, self.world.kind_of_word)

    def evaluate(self, left: int, operator: str, right: int) -> int:
        return evaluate(left, operator, right)

    def first_equation(self, text: str) -> str | None:
        equation = EVALUATED.search(text)
        return None if equation is None else "{} {} {} = {}".format(*equation.groups())


for _world in WORLDS:
    tasks.register(_world.name)(Letters(_world))
