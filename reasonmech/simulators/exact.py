"""Exact answers about a tabular policy: dynamic programming over the finite chain of its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.simulators.policy import (
    CONCLUDE,
    KINDS,
    STEP,
    Skills,
    Status,
    TabularPolicy,
    opportunities,
)
from reasonmech.simulators.world import START, Ended, ReasonerWorld, WorldState, outcomes


class Expectations(NamedTuple):
    """Expectations over problems, slips, decisions and executions; no error but rounding.

    Attributes:
        accuracy: probability of a right answer.
        verified: probability of a right answer with every item worked off: no guess.
        reached: probability that the answer is right, or that the last value worked out is its.
        cut_off: probability that no answer comes within `max_sentences`.
        sentences: mean number of sentences.
        onsets, opportunities: kind -> mean number per solution; their ratio is the onset hazard.
        boundaries: [status, left] mean number of sentences that begin in each situation.
    """

    accuracy: float
    verified: float
    reached: float
    cut_off: float
    sentences: float
    onsets: Mapping[str, float]
    opportunities: Mapping[str, float]
    boundaries: Float[np.ndarray, "status left"]


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
    status, left, _ = _situations(items)
    decided = policy.onset.table()[status, left]  # [state, kind]
    skills = policy.execution
    # of the kinds in their order; with items left a conclusion is a guess, and a hedge needs no skill
    skill = np.array([skills.step, skills.check, skills.backtrack, skills.conclude, 1.0])
    by_state = np.where((np.arange(len(KINDS)) == CONCLUDE) & (left[:, None] == 1), skills.guess, skill)
    failing, succeeding = _sentences(replace(world, items=(items,), max_sentences=1), items)
    matrix = np.zeros((len(status) + 2,) * 2)
    matrix[[-2, -1], [-2, -1]] = 1.0
    matrix[:-2] = np.einsum("sk,skn->sn", decided * (1.0 - by_state), failing)
    matrix[:-2] += np.einsum("sk,skn->sn", decided * by_state, succeeding)
    return matrix


@lru_cache(maxsize=64)
def _situations(
    items: int,
) -> tuple[Int[np.ndarray, " state"], Int[np.ndarray, " state"], Bool[np.ndarray, " state"]]:
    """Of every state: what is open, whether items are left, and whether the answer is worked out."""
    states = states_of(items)
    worked_out = [s.done == items and not s.carried and not s.wrong for s in states]
    left = [int(s.done < items) for s in states]
    return np.array([s.status for s in states]), np.array(left), np.array(worked_out)


@lru_cache(maxsize=256)
def _sentences(
    world: ReasonerWorld, items: int
) -> tuple[Float[np.ndarray, "state kind next"], Float[np.ndarray, "state kind next"]]:
    """What a sentence of each kind leads to, where it is never carried out and where it always is.

    Every outcome's probability is linear in the one skill that the sentence takes, so these two tables hold
    all of them. (They depend neither on the other sizes nor on the room, which the caller leaves out.)
    """
    states = states_of(items)
    index: dict[WorldState | Ended, int] = {
        state: i for i, state in enumerate([*states, Ended(True), Ended(False)])
    }
    tables = []
    for skills in (Skills(*(skill,) * 5) for skill in (0.0, 1.0)):
        table = np.zeros((len(states), len(KINDS), len(index)))
        for i, state in enumerate(states):
            left = state.done < items
            for kind in range(len(KINDS)):
                if kind == STEP and not left:
                    table[i, kind, i] = 1.0  # never begun: there is nothing left to step to
                    continue
                for target, p in outcomes(state, kind, items=items, skills=skills, world=world):
                    table[i, kind, index[target]] += p
        tables.append(table)
    return tables[0], tables[1]


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
    ends, boundaries = [], np.zeros((len(Status), 2))
    for items in world.items:
        occupancy = _occupancy(policy, world, items)
        status, left, worked_out = _situations(items)
        concludes = table[status, 0, CONCLUDE] * worked_out
        ends.append(_ends(occupancy, worked_out, concludes, policy.execution.conclude))
        # The mean number of times that a sentence begins in each state, over problems of this size.
        visits = occupancy[:-1, :-2].sum(axis=0) / len(world.items)
        np.add.at(boundaries, (status, left), visits)
    onsets, offered = ((boundaries[..., None] * each).sum(axis=(0, 1)) for each in (table, can_begin))
    right, verified, reached, cut_off = (float(share) for share in np.mean(ends, axis=0))
    return Expectations(
        right,
        verified,
        reached,
        cut_off,
        float(onsets.sum()),
        dict(zip(KINDS, onsets.tolist(), strict=True)),
        dict(zip(KINDS, offered.tolist(), strict=True)),
        boundaries,
    )


def _ends(
    occupancy: Float[np.ndarray, "time state"],
    worked_out: Bool[np.ndarray, " state"],
    concludes: Float[np.ndarray, " state"],
    skill: float,
) -> tuple[float, float, float, float]:
    """Of problems of one size: right, right without a guess, right or worked out, cut off.

    Args:
        concludes: probability that a worked-out answer is stated next.
        skill: that it is stated as it should be.
    """
    # The last two states are "answered right" and "answered wrong".
    right, cut_off = occupancy[-1][-2], occupancy[-1][:-2].sum()
    stated = float(occupancy[:-1, :-2].sum(axis=0) @ concludes)
    verified = stated * skill
    unstated = float(occupancy[-1][:-2] @ worked_out)
    return right, verified, right - verified + stated + unstated, cut_off


def _occupancy(policy: TabularPolicy, world: ReasonerWorld, items: int) -> Float[np.ndarray, "time state"]:
    """Probability of each state before sentence 0, 1, ... and after the last."""
    matrix = transitions(policy, world, items=items)
    occupancy = np.zeros((world.max_sentences + 1, len(matrix)))
    occupancy[0, states_of(items).index(START)] = 1.0
    for t in range(world.max_sentences):
        occupancy[t + 1] = occupancy[t] @ matrix
        if occupancy[t + 1, :-2].max() == 0.0:  # all have answered
            occupancy[t + 2 :] = occupancy[t + 1]
            break
    return occupancy
