"""QuestionTask: questions and gold answers out of a file or a published data set."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from reasonmech.errors import ConfigError, DataError
from reasonmech.hosts.prompt import QUESTION
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Rollout
from reasonmech.tasks.base import Outcome, tasks
from reasonmech.tasks.questions.bank import Bank, QuestionAndAnswer, QuestionColumns, make_bank
from reasonmech.tasks.questions.comparing import exact_outcomes, math_outcomes
from reasonmech.tasks.questions.prompt import plain_prompt
from reasonmech.tasks.questions.published import PUBLISHED, read_published
from reasonmech.tasks.questions.reading import RULE
from reasonmech.tasks.questions.rows import QuestionSource, read_rows
from reasonmech.tasks.questions.task_name import TaskName
from reasonmech.tasks.questions.text_task import TextTask
from reasonmech.tasks.splits import Split

OPTIONS: Final = ("question", "answer", "grading", "split", "licence", "deadline", "onsets")
JSONL: Final = "jsonl"
WHERE: Final = "__where__"  # of a problem's data: the line or row of its question
_LICENCE_COLUMNS: Final = ("licence", "license")


class QuestionTask(TextTask):
    """A task of kind jsonl, gsm8k, math500 or hendrycks. Nothing is read before problems are asked for.

    Raises:
        ConfigError: jsonl without a path; an option whose value is not allowed.
        UnknownNameError: no such option.
    """

    def __init__(self, name: TaskName) -> None:
        super().__init__(name)
        name.check_options(OPTIONS)
        self.grading, self.split, self.deadline = name.grading, name.split, name.deadline
        if name.kind == JSONL and not name.argument:
            raise ConfigError(
                f"task {name.full!r} names no file", allowed="jsonl:PATH", do="jsonl:questions.jsonl"
            )

    def problems(self, n: int, *, seed: int, split: Split) -> ProblemSet:
        _, bank = self._read()
        questions = bank.of_split(split)
        if n > len(questions):
            there = ", ".join(f"{name} {size}" for name, size in bank.counts()["splits"].items())
            raise DataError(
                f"{n} problems of split {split!r} of task {self.name.full!r}, which has {len(questions)}",
                allowed=f"as many as there are: {there}",
                do=self._more_of(split),
            )
        chosen = random.Random(f"{split}|{seed}").sample(questions, n)
        return ProblemSet([self._problem(question) for question in chosen], task=self.name.full)

    def outcomes(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        if self.grading == "exact":
            return exact_outcomes(rollouts)
        return math_outcomes(rollouts, seconds=self.deadline)

    def record(self) -> dict[str, Any]:
        """Source, hash and licence; how many rows, questions, duplicates and unreadable gold answers, per
        split; how answers are read and compared."""
        source, bank = self._read()
        return {
            "task": self.name.full,
            "source": source.name,
            "sha256": source.sha256,
            **source.record,
            "licence": self._licence(source),
            **bank.counts(),
            "grading": self.grading,
            "deadline_s": self.deadline if self.grading == "math" else None,
            "answer_read": RULE,
        }

    def _problem(self, question: QuestionAndAnswer) -> Problem:
        home = Path(self.name.argument).stem if self.name.kind == JSONL else ""
        id = "/".join(filter(None, (self.name.kind, home, question.digest)))
        data = {**question.fields, QUESTION: question.text, WHERE: question.where}
        return Problem(id, plain_prompt(question.text), question.answer, data)

    def _read(self) -> tuple[QuestionSource, Bank]:
        """Rows and questions; files are read again when they have changed."""
        published, options = PUBLISHED.get(self.name.kind), self.name.options
        if published is None:
            source, columns, gold_of = read_rows(self.name.argument), QuestionColumns(), str.strip
            form = ""
        else:
            source, columns = read_published(published, self.name.argument), published.columns
            gold_of, form = published.gold_of, published.form
        columns = QuestionColumns(
            options.get("question", columns.question), options.get("answer", columns.answer)
        )
        return source, make_bank(
            source,
            columns,
            gold_of=str.strip if "answer" in options else gold_of,
            form="" if "answer" in options else form,
            seconds=self.deadline if self.grading == "math" else None,
            split=self.split,
        )

    def _licence(self, source: QuestionSource) -> str | None:
        """As the name states it, or a column that says the same in every row, or whoever published it."""
        if "licence" in self.name.options:
            return self.name.options["licence"]
        if published := PUBLISHED.get(self.name.kind):
            return published.licence
        for column in _LICENCE_COLUMNS:
            stated = {str(row.fields.get(column)) for row in source.rows if column in row.fields}
            if len(stated) == 1:
                return stated.pop()
        return None

    def _more_of(self, split: Split) -> str:
        """What to do where a split has too few questions."""
        if self.split is not None:
            return (
                f"ask for fewer, or give more questions; split={self.split} puts all of them into that one "
                "split: without it a hash deals them out among train, tuning, test and confirmation"
            )
        full = self.name.full
        declared = f"{full}{'&' if self.name.options else '?'}split={split}"
        return (
            "ask for fewer, give more questions, or declare that all of them are of this split (and none is "
            f"left for what is fitted on another): {declared}"
        )


@tasks.family(JSONL, form="jsonl:PATH")
@tasks.family("gsm8k", form="gsm8k")
@tasks.family("math500", form="math500")
@tasks.family("hendrycks", form="hendrycks")
@lru_cache(maxsize=64)
def question_task(name: str) -> QuestionTask:
    """The task of a name such as "jsonl:questions.jsonl?grading=exact"."""
    return QuestionTask(TaskName.parse(name))
