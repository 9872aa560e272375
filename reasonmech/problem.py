"""What a task hands to a model: problems, and the environment that writes some of the tokens itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, overload, runtime_checkable

from transformers import PreTrainedTokenizerBase

from reasonmech.door import checked
from reasonmech.ranges import Positive


@checked
@dataclass(frozen=True)
class Problem:
    """One problem of a task.

    Attributes:
        id: unique across tasks, splits and seeds ("chain/test/0/17"): the unit of inference.
        prompt: the text given to the model.
        answer: what the grader compares with.
        data: what the task's own grader and parser need; JSON values only.
    """

    id: str
    prompt: str
    answer: str
    data: Mapping[str, Any] = field(default_factory=dict, hash=False)


class Written(NamedTuple):
    """The token that really enters the text, and whether the environment wrote it instead of the model."""

    token: int
    by_environment: bool


@runtime_checkable
class Scribe(Protocol):
    """The environment of one row of a batch: it sees every token and may write some itself."""

    def write(self, proposed: int) -> Written:
        """Take the model's proposal for the next token; return the token that is written."""
        ...


@runtime_checkable
class Environment(Protocol):
    """Tokens that the task, not the model, writes (slips, read-backs). Stateless: state lives in scribes."""

    def scribe(self, problem: Problem, sample: int, tokenizer: PreTrainedTokenizerBase) -> Scribe: ...


class ProblemSet(Sequence[Problem]):
    """Problems of one task with the environment in which they are solved (None: the model writes every
    token).

    Attributes:
        repeats: how often each problem stands on purpose, for a decoder that treats its rows differently.
    """

    @checked
    def __init__(
        self,
        problems: Sequence[Problem],
        *,
        task: str,
        environment: Environment | None = None,
        repeats: Positive = 1,
    ) -> None:
        self.problems, self.task, self.environment = tuple(problems), task, environment
        self.repeats = repeats

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> ProblemSet: ...
    def __getitem__(self, index: int | slice) -> Problem | ProblemSet:
        if isinstance(index, slice):
            return ProblemSet(
                self.problems[index],
                task=self.task,
                environment=self.environment,
                repeats=self.repeats,
            )
        return self.problems[index]

    def __len__(self) -> int:
        return len(self.problems)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.problems)

    def __repr__(self) -> str:
        return f"ProblemSet({len(self)} problems of task {self.task!r})"
