"""ValueTask: what worlds share in which a value stands and operations are carried out on it one by one."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from reasonmech.behaviours import OnsetWords
from reasonmech.problem import Environment, Problem, ProblemSet
from reasonmech.rollout import Rollout, Trace
from reasonmech.tasks.chain.behaviours.backtrack import contradicted
from reasonmech.tasks.chain.behaviours.check import unverified
from reasonmech.tasks.chain.grammar import solution
from reasonmech.tasks.chain.parser import follows
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace, standing_values
from reasonmech.tasks.chain.world import World
from reasonmech.tasks.splits import Split


def value_problem(
    prompt: str, start: int, operations: Sequence[tuple[str, int]], values: Sequence[int], *, id: str
) -> Problem:
    """A problem from its numbers; the answer is the last of `values`, which stand after each operation."""
    data = {"start": start, "operations": [list(operation) for operation in operations]}
    return Problem(id=id, prompt=prompt, answer=str(values[-1]), data=data)


class ValueTask(ABC):
    """Grading of texts whose sentences are `ChainSentence`s; how they are written is the subclass's matter.

    A problem's data hold "start", a value, and "operations", pairs of an operator and an operand.

    Attributes:
        world: operators, first words of kinds of sentence, and what the environment writes.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.onset_words: OnsetWords = world.onset_words
        self.answer_kinds = ("conclude",)

    @abstractmethod
    def draw(self, rng: random.Random, split: Split, *, id: str) -> Problem:
        """One random problem of a split."""

    @abstractmethod
    def environment(self, seed: int) -> Environment:
        """What writes values and read-backs into the texts of problems of a seed."""

    @abstractmethod
    def parse(self, rollout: Rollout) -> Trace[ChainSentence]:
        """Cut a rollout into sentences by token offset."""

    @abstractmethod
    def evaluate(self, left: int, operator: str, right: int) -> int:
        """The value of one operation."""

    @abstractmethod
    def first_equation(self, text: str) -> str | None:
        """The first equation with its value in a text, "8 + 4 = 2"; None when none is complete."""

    def problems(self, n: int, *, seed: int, split: Split) -> ProblemSet:
        """`n` problems of a split, which a seed draws, with their environment."""
        name = self.world.name
        rng = random.Random(f"{name}|{split}|{seed}")
        problems = [self.draw(rng, split, id=f"{name}/{split}/{seed}/{i}") for i in range(n)]
        return ProblemSet(problems, task=name, environment=self.environment(seed))

    def values(self, problem: Problem) -> list[int]:
        """The right value after each operation."""
        return solution(problem.data["start"], problem.data["operations"], self.evaluate)

    def sentences(self, rollout: Rollout) -> Sequence[ChainSentence]:
        """The sentences of a text that is still being written; their offsets may be none."""
        return self.parse(rollout).sentences

    def grade(self, rollout: Rollout) -> bool:
        return rollout.stop == "eos" and _states_answer(rollout, self.sentences(rollout))

    def verified(self, trace: Trace) -> bool:
        """Right answer, every operation carried out in order on the value that stands, every last value
        right."""
        rollout, sentences = trace.rollout, chain_trace(trace).sentences
        if rollout.stop != "eos" or not _states_answer(rollout, sentences):
            return False
        data = rollout.problem.data
        operations = [(operator, operand) for operator, operand in data["operations"]]
        if not follows(trace, data["start"], operations):
            return False
        return standing_values(sentences) == dict(enumerate(self.values(rollout.problem)))

    def due(self, rollout: Rollout) -> str:
        """Backtrack where a contradiction stands, check where a step is unverified, step elsewhere."""
        if not rollout.ids:
            return "step"
        sentences = tuple(self.sentences(rollout))
        if contradicted(sentences):
            return "backtrack"
        return "check" if unverified(sentences) else "step"

    def reached(self, trace: Trace) -> bool:
        """Whether the last value worked out is the answer, however the text then ends."""
        values = [s.value for s in chain_trace(trace).sentences if s.relation in ("establishes", "revises")]
        return bool(values) and str(values[-1]) == trace.rollout.problem.answer


def _states_answer(rollout: Rollout, sentences: Sequence[ChainSentence]) -> bool:
    """Whether the last conclusion is the answer."""
    concluded = [s for s in sentences if s.kind == "conclude"]
    return bool(concluded) and str(concluded[-1].value) == rollout.problem.answer
