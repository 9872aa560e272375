"""Shapley values of a gap by player: onsets where a behaviour is due, and the execution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial
from typing import Final

from reasonmech.claims.claim import Rule
from reasonmech.claims.effects import Effect, effect
from reasonmech.claims.evidence import PerProblem
from reasonmech.errors import DataError

EXECUTOR: Final = "executor"
PLAYERS: Final = ("step", "check", "backtrack", EXECUTOR)
"""Who decides at boundaries where neither a check nor a backtrack is due (a step, or the answer), where a
step is unverified, where a contradiction stands; and who executes."""


def shapley_values(
    coalitions: Mapping[tuple[str, ...], PerProblem], players: Sequence[str] = PLAYERS
) -> dict[str, PerProblem]:
    """Each player's mean effect over all orders of joining (Shapley 1953), problem by problem.

    phi_i = sum over S without i of |S|! (k - |S| - 1)! / k! [v(S with i) - v(S)]; they sum to
    v(all) - v(nobody), problem by problem.

    Args:
        coalitions: members, in the order of `players` -> v [problem].

    Raises:
        DataError: a coalition is missing.
    """
    k, values = len(players), {}
    wanted = [members for size in range(k + 1) for members in combinations(players, size)]
    missing = [members for members in wanted if members not in coalitions]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(wanted)} coalitions are missing, such as {missing[0]}",
            allowed="every subset of the players, in their order",
        )
    for player in players:
        others = [one for one in players if one != player]
        total = 0.0
        for size in range(k):
            weight = factorial(size) * factorial(k - size - 1) / factorial(k)
            for members in combinations(others, size):
                joined = tuple(one for one in players if one in (*members, player))
                total = total + weight * (coalitions[joined] - coalitions[members])
        values[player] = total
    return values


def shapley_effects(coalitions: Mapping[tuple[str, ...], PerProblem], rule: Rule) -> dict[str, Effect]:
    """Shapley values with their intervals; empty where no coalition was run."""
    if not coalitions:
        return {}
    return {name: effect(values, rule) for name, values in shapley_values(coalitions).items()}
