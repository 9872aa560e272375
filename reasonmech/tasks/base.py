"""The Task protocol and the open registry of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from transformers import PreTrainedTokenizerBase

from reasonmech.arguments import check_type
from reasonmech.behaviours import OnsetWords
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.kinds import Kinds
from reasonmech.problem import ProblemSet
from reasonmech.ranges import Seed
from reasonmech.registry import Registry
from reasonmech.rollout import Rollout, Rollouts, Trace
from reasonmech.tasks.splits import Split

Outcome = Literal["right", "wrong", "unparsed", "timeout", "truncated"]


class Task(Protocol):
    """Problems with a seed and a grader that no model takes part in.

    Attributes:
        onset_words: kind of sentence -> the word or phrase that usually begins it, or several; what a keyword
            labeller looks for. Kinds that no word marks are left out.
    """

    onset_words: OnsetWords

    def problems(self, n: int, *, seed: int, split: Split) -> ProblemSet: ...

    def kinds(self, tokenizer: PreTrainedTokenizerBase) -> Kinds:
        """Its kinds of sentence, to be followed while a text is written in this tokenizer's tokens.

        Raises:
            DataError: the kinds cannot be told in these tokens.
        """
        ...

    def parse(self, rollout: Rollout) -> Trace:
        """Cut a rollout into sentences by token offset."""
        ...

    def grade(self, rollout: Rollout) -> bool:
        """Whether the stated answer is right. A rollout that was cut off is wrong."""
        ...

    def verified(self, trace: Trace) -> bool:
        """Whether the answer is right *and* every step that it rests on was carried out correctly."""
        ...


@runtime_checkable
class ReadsNoSteps(Protocol):
    """A task of prose: no program tells whether the steps of an answer are right; its `verified` raises."""

    @property
    def reads_no_steps(self) -> Literal[True]: ...


@runtime_checkable
class WorksOut(Protocol):
    """A task that can tell whether an answer was worked out, whether or not it was stated as one."""

    def reached(self, trace: Trace) -> bool:
        """Whether the last value that was worked out is the answer, however the text then ends."""
        ...


@runtime_checkable
class StatesAnswers(Protocol):
    """A task that knows with which kinds of sentence an answer is stated.

    Attributes:
        answer_kinds: their names.
    """

    answer_kinds: tuple[str, ...]


@runtime_checkable
class TellsWhatIsDue(Protocol):
    """A task that can tell which behaviour is due at the end of a text that is still being written."""

    def due(self, rollout: Rollout) -> str:
        """Name of the behaviour that the next sentence ought to begin."""
        ...


@runtime_checkable
class GradesByOutcome(Protocol):
    """A task that tells why an answer is not right; its `grade` is true for "right" alone."""

    def outcomes(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """What became of each answer."""
        ...


@runtime_checkable
class HasSource(Protocol):
    """A task whose problems come from somewhere else than a seed: a file, a data set, another package."""

    def record(self) -> dict[str, Any]:
        """Where they come from: source, licence, hash, how many of each kind. JSON values."""
        ...


tasks: Registry[Task] = Registry("task")


@checked
def load_task(name: str, *, n: int, seed: Seed = 0, split: Split = "test") -> ProblemSet:
    """Draw `n` problems of a registered task. Splits are disjoint for every seed.

    Args:
        name: "chain"; or, of questions from elsewhere, "jsonl:PATH", "gsm8k", "reasoning_gym:chain_sum".

    Raises:
        ArgumentError: no name, or a number that is no integer.
        UnknownNameError: no such task or split; the valid ones are listed.
        DataError: n < 1, or more than the task has; a data set that is not here.
        CorruptFileError: a file of questions that cannot be read.
    """
    check_type(name, str, name="name", allowed=f"the name of a task: {', '.join(tasks.forms())}")
    if n < 1:
        raise DataError(f"{n} problems of task {name!r} asked for", allowed="n >= 1")
    return tasks.get(name).problems(n, seed=seed, split=split)


@checked
def source_of(task: str) -> dict[str, Any] | None:
    """Where the problems of a task come from, with licence and hash; None of a task that makes its own.

    Raises:
        As `load_task` does.
    """
    one = tasks.get(task)
    return one.record() if isinstance(one, HasSource) else None


def grade(rollouts: Rollouts) -> np.ndarray:
    """Per rollout, whether its answer is right, by the task's own grader. Shape [rollout], bool.

    Raises:
        ArgumentError: no rollouts. DataError: rollouts of plain prompts: there is no task to grade them.
        UnknownNameError: their task is not registered.
    """
    task = task_of(rollouts)
    if isinstance(task, GradesByOutcome):
        return np.array([outcome == "right" for outcome in task.outcomes(rollouts)], dtype=bool)
    return np.array([task.grade(rollout) for rollout in rollouts], dtype=bool)


def parse(rollouts: Rollouts) -> list[Trace]:
    """Every rollout cut into sentences by its task's parser.

    Raises:
        As `grade` does. Text of no task is cut by `rm.text.cut`.
    """
    task = task_of(rollouts)
    return [task.parse(rollout) for rollout in rollouts]


def task_of(rollouts: Rollouts) -> Task:
    """The task that grades them. Raises as `grade` does."""
    check_type(
        rollouts,
        Rollouts,
        name="rollouts",
        allowed="rollouts of a task: rm.generate(host, problems)",
        do="hand on what generate returned, or a slice of it; a list does not name its task",
    )
    if not rollouts.task:
        raise DataError(
            f"{len(rollouts)} rollouts of plain prompts belong to no task",
            allowed=f"rollouts of a task: {', '.join(tasks.forms())}",
            do="generate from rm.load_task(...); real text is cut by rm.text.cut(rollouts, tokenizer)",
        )
    return tasks.get(rollouts.task)
