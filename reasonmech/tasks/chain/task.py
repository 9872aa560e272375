"""Task `chain`: problems, parser and grader."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from transformers import PreTrainedTokenizerBase

from reasonmech.problem import Problem
from reasonmech.rollout import Rollout, Trace
from reasonmech.tasks.base import tasks
from reasonmech.tasks.chain.environment import ChainEnvironment, equation_before
from reasonmech.tasks.chain.grammar import DIGITS, evaluate, prompt, solution
from reasonmech.tasks.chain.kinds import OneWordKinds
from reasonmech.tasks.chain.parser import parse
from reasonmech.tasks.chain.sentence import ChainSentence
from reasonmech.tasks.chain.value_task import ValueTask, value_problem
from reasonmech.tasks.chain.world import CHAIN, WORLDS, World
from reasonmech.tasks.splits import Split, split_of

LENGTHS: Final = (3, 4, 5)


def make_problem(start: int, operations: Sequence[tuple[str, int]], *, id: str) -> Problem:
    """A problem from its numbers; the answer is the value after the last operation."""
    return value_problem(prompt(start, operations), start, operations, solution(start, operations), id=id)


def draw(rng: random.Random, split: Split, *, id: str, world: World = CHAIN) -> Problem:
    """One random problem of a split."""
    is_usual = bool(world.usual_answer) and rng.random() < world.usual_share
    while True:
        operations = [(rng.choice(world.operators), rng.randrange(10)) for _ in range(rng.choice(LENGTHS))]
        problem = make_problem(rng.randrange(10), operations, id=id)
        if world.required and all(operator != world.required for operator, _ in operations):
            continue
        if world.usual_answer and (problem.answer == world.usual_answer) != is_usual:
            continue
        if split_of(problem.prompt) == split:
            return problem


class Chain(ValueTask):
    """A chain world as a task; see the package docstring."""

    def __init__(self, world: World = CHAIN) -> None:
        super().__init__(world)

    def draw(self, rng: random.Random, split: Split, *, id: str) -> Problem:
        return draw(rng, split, id=id, world=self.world)

    def environment(self, seed: int) -> ChainEnvironment:
        world = self.world
        return ChainEnvironment(
            seed=seed, slip=world.slip, read_back=world.read_back, kind_of_word=world.kind_of_word
        )

    def kinds(self, tokenizer: PreTrainedTokenizerBase) -> OneWordKinds:
        return OneWordKinds(self.world.onset_words, tokenizer)

    def parse(self, rollout: Rollout) -> Trace[ChainSentence]:
        return parse(rollout, self.world.kind_of_word)

    def evaluate(self, left: int, operator: str, right: int) -> int:
        return evaluate(left, operator, right)

    def first_equation(self, text: str) -> str | None:
        words = text.split()
        for t in range(4, len(words)):
            if words[t] in DIGITS and equation_before(words[:t]):
                return " ".join(words[t - 4 : t + 1])
        return None


for _world in WORLDS:
    tasks.register(_world.name)(Chain(_world))
