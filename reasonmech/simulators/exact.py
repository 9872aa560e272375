"""Exact answers about a tabular policy: dynamic programming over the finite chain of its states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.simulators.policy import KINDS, Status, TabularPolicy, opportunities
from reasonmech.simulators.world import START, Ended, ReasonerWorld, WorldState, outcomes


class Expectations(NamedTuple):
    """Expectations over problems, slips, decisions and executions; no error but rounding.

    Attributes:
        accuracy: probability of a right answer.
        cut_off: probability that no answer comes within `max_sentences`.
        sentences: mean number of sentences.
        onsets, opportunities: kind -> mean number per solution; their ratio is the onset hazard.
    """

    accuracy: float
    cut_off: float
    sentences: float
    onsets: Mapping[str, float]
    opportunities: Mapping[str, float]


def states_of(items: int) -> list[WorldState]:
    """Every state of a problem, START among them."""
    flags = (False, True)
    return [
        WorldState(done, carried, wrong, status)
        for done in range(items + 1)
        for carried in flags
        for wrong in flags
        for status in Status
    ]


@checked
def transitions(
    policy: TabularPolicy, world: ReasonerWorld, *, items: int
) -> Float[np.ndarray, "state next"]:
    """P(next | state) over `states_of(items)`, then "answered right" and "answered wrong", both absorbing."""
    states, table = states_of(items), policy.onset.table()
    index: dict[WorldState | Ended, int] = {
        state: i for i, state in enumerate([*states, Ended(True), Ended(False)])
    }
    matrix = np.zeros((len(index), len(index)))
    matrix[[-2, -1], [-2, -1]] = 1.0
    for state in states:
        for kind, p_kind in enumerate(table[state.status, int(state.done < items)]):
            if p_kind > 0.0:
                for target, p in outcomes(state, kind, items=items, skills=policy.execution, world=world):
                    matrix[index[state], index[target]] += p_kind * p
    return matrix


def accuracy_by_items(policy: TabularPolicy, world: ReasonerWorld) -> Float[np.ndarray, " items"]:
    """Probability of a right answer to a problem of each size in `world.items`."""
    return np.array([_occupancy(policy, world, items)[-1][-2] for items in world.items])


def accuracy(policy: TabularPolicy, world: ReasonerWorld) -> float:
    """Probability of a right answer."""
    return float(accuracy_by_items(policy, world).mean())


@checked
def pass_at_k(policy: TabularPolicy, world: ReasonerWorld, *, k: int) -> float:
    """Probability that one of k independent solutions is right: the mean over problem sizes of 1 - (1 - p)^k.

    Raises:
        DataError: k < 1.
    """
    if k < 1:
        raise DataError(f"pass@{k}", allowed="k >= 1", do="draw at least one solution")
    return float((1.0 - (1.0 - accuracy_by_items(policy, world)) ** k).mean())


def expectations(policy: TabularPolicy, world: ReasonerWorld) -> Expectations:
    """Accuracy, length, and how often each kind of sentence could begin, and did, per solution."""
    table, can_begin = policy.onset.table(), opportunities()
    right, cut_off = np.zeros(len(world.items)), np.zeros(len(world.items))
    onsets, offered = np.zeros(len(KINDS)), np.zeros(len(KINDS))
    for i, items in enumerate(world.items):
        occupancy = _occupancy(policy, world, items)
        # The last two states are "answered right" and "answered wrong".
        right[i], cut_off[i] = occupancy[-1][-2], occupancy[-1][:-2].sum()
        states = states_of(items)
        status, left = np.array([s.status for s in states]), np.array([int(s.done < items) for s in states])
        # The mean number of times that a sentence begins in each state, over problems of this size.
        visits = occupancy[:-1, :-2].sum(axis=0) / len(world.items)
        onsets += visits @ table[status, left]
        offered += visits @ can_begin[status, left]
    return Expectations(
        float(right.mean()),
        float(cut_off.mean()),
        float(onsets.sum()),
        dict(zip(KINDS, onsets.tolist(), strict=True)),
        dict(zip(KINDS, offered.tolist(), strict=True)),
    )


def _occupancy(policy: TabularPolicy, world: ReasonerWorld, items: int) -> Float[np.ndarray, "time state"]:
    """Probability of each state before sentence 0, 1, ... and after the last."""
    matrix = transitions(policy, world, items=items)
    occupancy = np.zeros((world.max_sentences + 1, len(matrix)))
    occupancy[0, states_of(items).index(START)] = 1.0
    for t in range(world.max_sentences):
        occupancy[t + 1] = occupancy[t] @ matrix
    return occupancy
