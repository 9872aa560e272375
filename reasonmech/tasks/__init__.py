"""Tasks: problems from a seed, the environment they are solved in, a parser and a programmatic grader."""

from reasonmech.problem import Environment, Problem, ProblemSet, Scribe
from reasonmech.tasks import chain as _chain  # each registers itself
from reasonmech.tasks import letters as _letters
from reasonmech.tasks import questions as _questions
from reasonmech.tasks.base import (
    GradesByOutcome,
    HasSource,
    ReadsNoSteps,
    StatesAnswers,
    Task,
    TellsWhatIsDue,
    WorksOut,
    grade,
    load_task,
    parse,
    source_of,
    tasks,
)
from reasonmech.tasks.outcomes import AnswerOutcomes, outcomes
from reasonmech.tasks.splits import Split

__all__ = [
    "Split",
    "ReadsNoSteps",
    "StatesAnswers",
    "Task",
    "grade",
    "load_task",
    "outcomes",
    "source_of",
    "AnswerOutcomes",
    "parse",
    "tasks",
    "Environment",
    "Problem",
    "ProblemSet",
    "Scribe",
    "TellsWhatIsDue",
    "GradesByOutcome",
    "HasSource",
    "WorksOut",
]
del _chain, _letters, _questions
