"""TextTask: what tasks on real text share, whose sentences no grammar tells apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from reasonmech.behaviours import OnsetWords, behaviours
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.kinds import Kinds
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollout, Trace
from reasonmech.tasks.base import Outcome, tasks
from reasonmech.tasks.chain.behaviours.base import ChainBehaviour
from reasonmech.tasks.questions.task_name import TaskName
from reasonmech.tasks.splits import Split
from reasonmech.taxonomies.text import TextSentence, cut_by_pieces


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
    """Problems whose answers are prose: sentences are cut (`taxonomies.text`) and are all of one kind.

    Attributes:
        name: as configurations and results name the task.
        onset_words: none: no word tells what a sentence of real text does.
    """

    def __init__(self, name: TaskName) -> None:
        self.name = name
        self.onset_words: OnsetWords = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name.full!r})"

    @abstractmethod
    def problems(self, n: int, *, seed: int, split: Split) -> ProblemSet:
        """`n` different problems of a split, which a seed draws."""

    @abstractmethod
    def outcomes(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """What became of each answer."""

    def kinds(self, tokenizer: PreTrainedTokenizerBase) -> Kinds:
        """Raises DataError: what a sentence of prose does is not known by its first token."""
        raise DataError(
            f"task {self.name.full!r} is prose: no first token tells what kind of sentence it begins",
            allowed="a task with a grammar (chain, letters), where kinds of sentence are needed",
            do="categories of prose are those of a taxonomy: rm.text.by_words(rm.parse(rollouts), 'venhoff')",
        )

    def parse(self, rollout: Rollout) -> Trace[TextSentence]:
        """Sentences of prose, of kind "other", and the end of the text."""
        return cut_by_pieces(rollout)

    def grade(self, rollout: Rollout) -> bool:
        """Whether the outcome is "right"."""
        return self.outcomes([rollout]) == ["right"]

    def verified(self, trace: Trace) -> bool:
        """Raises DataError: no program tells whether the steps of prose are right."""
        raise DataError(
            f"task {self.name.full!r} cannot tell whether an answer was verified: nothing reads its steps",
            allowed="right or wrong answers: rm.grade(rollouts)",
            do="take a task with a grammar (chain, letters) where steps are to be verified",
        )
