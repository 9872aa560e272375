"""Rollouts (what a model wrote, token by token) and traces (a rollout cut into sentences by offset)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

from reasonmech.errors import CorruptFileError
from reasonmech.problem import Problem

Stop = Literal["eos", "token", "length"]
Relation = Literal["establishes", "verifies", "revises", "concludes"]


@dataclass(frozen=True)
class Rollout:
    """One generated answer. Offsets count from the first generated token; positions from the first prompt
    token.

    Attributes:
        prompt_ids, ids: tokens of the prompt and of what was generated (end-of-sequence token included).
        by_environment: per generated token, whether the task's environment wrote it.
        steered: per generated token, whether an intervention fired at the position that predicted it.
        stop: "eos"; "token" when one of `Decode.stop_tokens` ended it, "length" when it was cut off (both
            graded as wrong, never dropped).
        text: `ids` decoded.
    """

    problem: Problem
    sample: int
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    by_environment: tuple[bool, ...]
    steered: tuple[bool, ...]
    stop: Stop
    text: str

    @property
    def all_ids(self) -> tuple[int, ...]:
        return self.prompt_ids + self.ids

    @property
    def n_chosen(self) -> int:
        """Tokens that the model chose (environment tokens excluded): the denominator of percent steered."""
        return len(self.ids) - sum(self.by_environment)


@dataclass(frozen=True)
class Sentence:
    """A sentence of a rollout, half-open token offsets [start, stop) from the first generated token.

    Attributes:
        kind: behaviour that the task's grammar names ("step", "check", ...), "other" where it names none.
        item: which subgoal it works on (operation index), None where it names none.
        value: what it states about that item, None where nothing is stated.
        value_at: offset of the token that states it.
        correct: whether what it states is right for the equation as written (None: nothing to judge).
        relation: what it does to the item's standing value, whatever words it uses: "establishes" a first
            one,
            "verifies" it (stated again beside it), "revises" it (abandoned for this one), "concludes" (the
            answer).
        standing: the item's standing value when the sentence began (None: none).
        equation: what the value was computed from, as written ("8 + 4"); None where nothing is computed.
        adopts: the item whose standing value it abandons without a word, by going on from the other one that
            a check had found; None where it goes on from what stands. `adopted` is that other value.
    """

    kind: str
    start: int
    stop: int
    item: int | None = None
    value: int | None = None
    value_at: int | None = None
    correct: bool | None = None
    relation: Relation | None = None
    standing: int | None = None
    equation: str | None = None
    adopts: int | None = None
    adopted: int | None = None


@dataclass(frozen=True)
class Trace:
    """A rollout cut into sentences; what behaviours, graders and labellers read."""

    rollout: Rollout
    sentences: tuple[Sentence, ...]
    words: tuple[str, ...] = field(repr=False)  # one per generated token


class Rollouts(Sequence[Rollout]):
    """Rollouts of one host or decoder under one plan, in the order of the problems, with what they were made
    by.

    Attributes:
        task: name of the task that grades them ("" for plain prompts).
        receipt: what each intervention of the plan really did (None without a plan); its JSON values (a dict)
            after `load`.
    """

    def __init__(self, rollouts: Sequence[Rollout], *, task: str = "", receipt: Any = None) -> None:
        self.rollouts, self.task, self.receipt = tuple(rollouts), task, receipt

    @overload
    def __getitem__(self, index: int) -> Rollout: ...
    @overload
    def __getitem__(self, index: slice) -> Rollouts: ...
    def __getitem__(self, index: int | slice) -> Rollout | Rollouts:
        if isinstance(index, slice):
            return Rollouts(self.rollouts[index], task=self.task, receipt=self.receipt)
        return self.rollouts[index]

    def __len__(self) -> int:
        return len(self.rollouts)

    def __iter__(self) -> Iterator[Rollout]:
        return iter(self.rollouts)

    def __repr__(self) -> str:
        return f"Rollouts({len(self)} of task {self.task!r})"

    def save(self, path: str | Path) -> None:
        """Write one JSON object per line, to a temporary name first; the receipt as its JSON values."""
        receipt = (
            self.receipt if self.receipt is None or isinstance(self.receipt, dict) else self.receipt.to_json()
        )
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        with partial.open("w") as out:
            out.write(json.dumps({"task": self.task, "n": len(self), "receipt": receipt}) + "\n")
            for rollout in self:
                out.write(json.dumps(asdict(rollout)) + "\n")
        partial.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Rollouts:
        """Read what `save` wrote. Raises CorruptFileError when lines are missing or damaged."""
        lines = Path(path).read_text().splitlines()
        try:
            head, rows = json.loads(lines[0]), [json.loads(line) for line in lines[1:]]
            n, task, receipt = head["n"], head["task"], head["receipt"]
        except (IndexError, KeyError, json.JSONDecodeError) as error:
            raise CorruptFileError(
                f"{path} is not a rollout file: {error}", do="generate it again"
            ) from error
        if len(rows) != n:
            raise CorruptFileError(f"{path} holds {len(rows)} of {n} rollouts", do="generate it again")
        tuples = ("prompt_ids", "ids", "by_environment", "steered")
        rollouts = []
        for row in rows:
            row |= {name: tuple(row[name]) for name in tuples} | {"problem": Problem(**row["problem"])}
            rollouts.append(Rollout(**row))
        return cls(rollouts, task=task, receipt=receipt)
