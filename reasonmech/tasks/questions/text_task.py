"""TextTask: what tasks on real text share, whose sentences no grammar tells apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from transformers import PreTrainedTokenizerBase

from reasonmech.behaviours import OnsetSets, OnsetWords, behaviours
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.kinds import Kinds
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollout, Trace
from reasonmech.tasks.base import Outcome, tasks
from reasonmech.tasks.chain.behaviours.base import ChainBehaviour
from reasonmech.tasks.questions.task_name import TaskName
from reasonmech.tasks.splits import Split
from reasonmech.taxonomies.text import FirstTokenKinds, TextSentence, cut_by_pieces


@checked
def check_behaviour(task: str, behaviour: str) -> None:
    """Refuse a behaviour that no text of a task can show, before any is written.

    Raises:
        UnknownNameError: no such task or behaviour. DataError: it reads a grammar, and the texts are prose.
    """
    reads_grammar = isinstance(behaviours.get(behaviour), ChainBehaviour)
    if reads_grammar and isinstance(tasks.get(task), TextTask):
        raise DataError(
            f"behaviour {behaviour!r} reads a grammar, and the texts of task {task!r} are prose",
            allowed="behaviours of prose, such as the categories of a taxonomy; or none: behaviours: []",
            do="name a task with a grammar (chain, letters), or leave the behaviour out",
        )


class TextTask(ABC):
    """Problems whose answers are prose: sentences are cut (`taxonomies.text`).

    Sentences are all of one kind, unless the name of the task says where onset sets are (`?onsets=PATH`, what
    `rm.behaviours.OnsetSets.save` wrote): then their behaviours are its kinds, and it is a task as any other
    to what steers, measures and judges onsets.

    Attributes:
        name: as configurations and results name the task.
        onset_words: none: no word tells what a sentence of real text does.
    """

    def __init__(self, name: TaskName) -> None:
        self.name = name
        self.onset_words: OnsetWords = {}
        path = name.options.get("onsets")
        self.onsets = None if path is None else OnsetSets.load(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name.full!r})"

    @abstractmethod
    def problems(self, n: int, *, seed: int, split: Split) -> ProblemSet:
        """`n` different problems of a split, which a seed draws."""

    @abstractmethod
    def outcomes(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """What became of each answer."""

    def kinds(self, tokenizer: PreTrainedTokenizerBase) -> Kinds:
        """The behaviours that learnt first tokens begin.

        Raises:
            DataError: the task's name says of no onset sets: no token tells what a sentence of prose does.
            MismatchError: they were learnt in another tokenizer's tokens.
        """
        if self.onsets is None:
            raise DataError(
                f"task {self.name.full!r} is prose: no first token tells what kind of sentence it begins",
                allowed="a task with a grammar (chain, letters), or with learnt onset sets (?onsets=PATH), "
                "where kinds of sentence are needed",
                do="rm.behaviours.learn_onset_sets(rm.parse(rollouts), ['words:venhoff/backtracking'])"
                ".save(PATH), and name the task with ?onsets=PATH",
            )
        return FirstTokenKinds(self.onsets, tokenizer)

    def parse(self, rollout: Rollout) -> Trace[TextSentence]:
        """Sentences of prose, and the end of the text; of the kind of the first behaviour of the onset sets
        that happens in it, or "other"."""
        trace = cut_by_pieces(rollout)
        if self.onsets is None:
            return trace
        kinds = dict[int, str]()
        for one in reversed(self.onsets.sets):  # so that the first has the last word
            kinds |= {span.start: one.behaviour for span in behaviours.get(one.behaviour).spans(trace)}
        return replace(
            trace, sentences=tuple(replace(s, kind=kinds.get(s.start, s.kind)) for s in trace.sentences)
        )

    def grade(self, rollout: Rollout) -> bool:
        """Whether the outcome is "right"."""
        return self.outcomes([rollout]) == ["right"]

    @property
    def reads_no_steps(self) -> Literal[True]:
        return True

    def verified(self, trace: Trace) -> bool:
        """Raises DataError: no program tells whether the steps of prose are right."""
        raise DataError(
            f"task {self.name.full!r} cannot tell whether an answer was verified: nothing reads its steps",
            allowed="right or wrong answers: rm.grade(rollouts)",
            do="take a task with a grammar (chain, letters) where steps are to be verified",
        )
