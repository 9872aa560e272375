"""Problems whose texts are short: as many texts as of any others, of half the tokens."""

from __future__ import annotations

from reasonmech.problem import ProblemSet


def shortest(problems: ProblemSet, n: int) -> ProblemSet:
    """The `n` problems of the shortest prompts, the shortest first."""
    kept = sorted(problems, key=lambda problem: len(problem.prompt))[:n]
    return ProblemSet(kept, task=problems.task, environment=problems.environment)
