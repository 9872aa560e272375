"""Tasks: problems from a seed, the environment they are solved in, a parser and a programmatic grader."""

from reasonmech.problem import Environment, Problem, ProblemSet, Scribe
from reasonmech.tasks import chain as _chain  # each registers itself
from reasonmech.tasks import letters as _letters
from reasonmech.tasks.base import (
    Split,
    StatesAnswers,
    Task,
    TellsWhatIsDue,
    WorksOut,
    grade,
    load_task,
    parse,
    tasks,
)

__all__ = [
    "Split",
    "StatesAnswers",
    "Task",
    "grade",
    "load_task",
    "parse",
    "tasks",
    "Environment",
    "Problem",
    "ProblemSet",
    "Scribe",
    "TellsWhatIsDue",
    "WorksOut",
]
del _chain, _letters
