"""Problems of the chain with short texts: runs that end after a third of the tokens."""

from __future__ import annotations

import reasonmech as rm
from reasonmech.problem import ProblemSet

_BRIEF = (7, 14, 16, 17, 32, 33, 43, 46)


def brief_problems(task: str, n: int) -> ProblemSet:
    """Problems of three operations: a right text has 73 tokens, or 83 where a mistake is taken back."""
    drawn = rm.load_task(task, n=max(_BRIEF) + 1, split="confirmation")
    return ProblemSet([drawn[i] for i in _BRIEF[:n]], task=task, environment=drawn.environment)
