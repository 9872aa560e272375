"""GymTask: problems of a generator of reasoning-gym, whose own scorer decides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any, Final

from reasonmech.errors import ConfigError, DataError, MismatchError, UnknownNameError
from reasonmech.hosts.prompt import QUESTION
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Rollout
from reasonmech.tasks.base import Outcome, tasks
from reasonmech.tasks.questions.bank import question_key
from reasonmech.tasks.questions.comparing import ask_graders, last_of, stated_answer
from reasonmech.tasks.questions.graders import Reply
from reasonmech.tasks.questions.prompt import plain_prompt
from reasonmech.tasks.questions.reading import RULE
from reasonmech.tasks.questions.task_name import TaskName
from reasonmech.tasks.questions.text_task import TextTask
from reasonmech.tasks.splits import Split, split_of
from reasonmech.versions import version_of
from reasonmech.yaml_text import parse_yaml

GYM: Final = "reasoning_gym"
INSTALL: Final = "pip install 'reasonmech[reasoning-gym]'"
THRESHOLD: Final = 1.0
_OPTIONS: Final = ("threshold", "deadline", "onsets")
SIZE: Final = 500  # of one list: what some generators make of an index depends on it
_DRAWS: Final = 200  # problems that are made for each that is wanted, before the generator counts as poor
_LICENCE: Final = "Apache-2.0 (reasoning-gym)"


class GymTask(TextTask):
    """A task reasoning_gym:NAME. Options other than `threshold` and `deadline` are the generator's own.

    Raises:
        MismatchError: reasoning-gym is not installed.
        UnknownNameError: no such generator, or setting of it.
        ConfigError: an option whose value is not allowed.
    """

    def __init__(self, name: TaskName) -> None:
        super().__init__(name)
        generators = _generators()
        if name.argument not in generators:
            raise UnknownNameError("generator of reasoning-gym", name.argument, generators)
        self.deadline = name.deadline
        self.threshold = name.number("threshold", THRESHOLD, least=0.0, most=1.0)
        settings = fields(generators[name.argument])
        self._names = [one.name for one in settings if one.name not in ("seed", "size")]
        name.check_options((*_OPTIONS, *self._names))
        self.settings = {key: _value(text) for key, text in name.options.items() if key not in _OPTIONS}
        self._list_of(0)

    def problems(self, n: int, *, seed: int, split: Split) -> ProblemSet:
        drawn: dict[str, Problem] = {}
        for problem in self._made(seed, n):
            key = question_key(problem.data[QUESTION])
            if split_of(key) == split:
                drawn.setdefault(key, problem)
            if len(drawn) == n:
                return ProblemSet(list(drawn.values()), task=self.name.full)
        raise DataError(
            f"{n} problems of split {split!r} of {self.name.full!r}: of {_DRAWS * n} that it made, "
            f"{len(drawn)} are different ones of this split",
            allowed=f"up to about {len(drawn)} of them",
            do="ask for fewer, or give the generator settings with more to choose from",
        )

    def outcomes(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        return ask_graders(rollouts, self._job_of, self._outcome, seconds=self.deadline)

    def record(self) -> dict[str, Any]:
        """Generator, its settings and version, threshold; how answers are read."""
        source = f"reasoning-gym {version_of('reasoning-gym')}: {self.name.argument}"
        return {
            "task": self.name.full,
            "source": source,
            "sha256": hashlib.sha256(
                f"{source} {json.dumps(self.settings, sort_keys=True)}".encode()
            ).hexdigest(),
            "settings": self.settings,
            "licence": _LICENCE,
            "grading": f"the generator's own score >= {self.threshold:g}",
            "deadline_s": self.deadline,
            "answer_read": RULE,
        }

    def _job_of(self, rollout: Rollout) -> Outcome | Reply:
        problem = rollout.problem
        answer = stated_answer(rollout, last=last_of(problem.answer))
        if answer is None:
            return "unparsed"
        return {
            "do": "score",
            "generator": self.name.argument,
            "settings": {**self.settings, "size": SIZE},
            "seed": problem.data["seed"],
            "index": problem.data["index"],
            "question": problem.data[QUESTION],
            "answer": answer,
        }

    def _made(self, seed: int, n: int) -> Iterator[Problem]:
        """What the generator makes for a seed: one list of problems after the other."""
        for part in range(-(-_DRAWS * n // SIZE)):
            part_seed = _seed_of(seed, part)
            problems = self._list_of(part_seed)
            for index in range(SIZE):
                yield self._problem(problems[index], part_seed, index)

    def _problem(self, entry: Mapping[str, Any], seed: int, index: int) -> Problem:
        question = str(entry["question"])
        digest = hashlib.sha256(question_key(question).encode()).hexdigest()[:16]
        answer = "" if entry["answer"] is None else str(entry["answer"])  # some have many, which they check
        metadata = json.loads(json.dumps(entry.get("metadata", {}), default=str))
        data = {QUESTION: question, "seed": seed, "index": index, "metadata": metadata}
        id = f"{GYM}/{self.name.argument}/{digest}"
        return Problem(id, plain_prompt(question), answer, data)

    def _list_of(self, seed: int) -> Any:
        import reasoning_gym  # pyright: ignore[reportMissingImports] - an extra

        try:
            return reasoning_gym.create_dataset(self.name.argument, seed=seed, size=SIZE, **self.settings)
        except (AssertionError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"the generator {self.name.argument!r} refuses its settings {self.settings}: "
                f"{type(error).__name__}: {error}",
                allowed=", ".join(self._names),
                do=f"{self.name.kind}:{self.name.argument}?setting=value",
            ) from error

    def _outcome(self, reply: Reply, rollout: Rollout) -> Outcome:
        if "changed" in reply:
            raise MismatchError(
                f"the generator {self.name.argument!r} of reasoning-gym {version_of('reasoning-gym')} makes "
                f"another problem than {rollout.problem.id}",
                allowed="the version that made the problems",
                do="generate the texts again, or install that version",
            )
        if "unread" in reply:
            return "unparsed"
        return "right" if reply["score"] >= self.threshold else "wrong"


@cache
def _generators() -> dict[str, type]:
    """Name -> configuration of every generator. Raises MismatchError where the package is missing."""
    if find_spec("reasoning_gym") is None:
        raise MismatchError(
            f"tasks {GYM}:NAME take the package reasoning-gym, which is not installed", do=INSTALL
        )
    from reasoning_gym.factory import DATASETS  # pyright: ignore[reportMissingImports] - an extra

    return {name: config for name, (_, config) in sorted(DATASETS.items())}


def _seed_of(seed: int, part: int) -> int:
    """The generator's seed: it adds an index to it, so that neighbours would make the same problems."""
    return int.from_bytes(hashlib.blake2b(f"{seed}|{part}".encode(), digest_size=4).digest(), "big") >> 1


def _value(text: str) -> Any:
    """A setting as YAML has it: "3" is a number, "[1, 2]" a list, anything else a text."""
    return parse_yaml(text, name="a setting").value


@tasks.family(GYM, form=f"{GYM}:NAME")
@lru_cache(maxsize=64)
def gym_task(name: str) -> GymTask:
    """The task of a name such as "reasoning_gym:chain_sum?max_terms=3"."""
    return GymTask(TaskName.parse(name))
