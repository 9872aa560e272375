"""Draws from a tabular policy: many solutions at once, under chance that all arms share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float, Int

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.ranges import Seed
from reasonmech.simulators.chance import draw, row_keys
from reasonmech.simulators.policy import (
    BACKTRACK,
    CHECK,
    CONCLUDE,
    KINDS,
    STEP,
    UNCERTAIN,
    Status,
    TabularPolicy,
    opportunities,
)
from reasonmech.simulators.world import ReasonerWorld

_STREAMS: Final = ("slip", "onset", "execution", "digit")


@final
@dataclass(frozen=True, eq=False)
class TabularRollouts:
    """Solutions, several per problem.

    Attributes:
        correct: [problem, sample] whether the answer is right; what was cut off is wrong.
        verified: [problem, sample] right, and every item was worked off: no guess.
        reached: [problem, sample] right, or the last value worked out is that of the answer, whatever was
            stated.
        cut_off: [problem, sample] whether there is no answer.
        items: [problem] how many items it has.
        slipped: [problem, sample, item] whether the environment slips at an item, worked off or not; items
            that a problem lacks are False.
        sentences: [problem, sample].
        boundaries: [problem, sample, status, left] how often a sentence began in each situation.
        opportunities, onsets, executed: [problem, sample, kind] how often a kind could begin, began, and was
            carried out rightly (a step: before its slip; an `uncertain` sentence always is); kinds in the
            order of KINDS.
    """

    correct: Bool[np.ndarray, "problem sample"]
    verified: Bool[np.ndarray, "problem sample"]
    reached: Bool[np.ndarray, "problem sample"]
    cut_off: Bool[np.ndarray, "problem sample"]
    items: Int[np.ndarray, " problem"]
    slipped: Bool[np.ndarray, "problem sample item"]
    sentences: Int[np.ndarray, "problem sample"]
    boundaries: Int[np.ndarray, "problem sample status left"]
    opportunities: Int[np.ndarray, "problem sample kind"]
    onsets: Int[np.ndarray, "problem sample kind"]
    executed: Int[np.ndarray, "problem sample kind"]


@checked
def simulate(
    policy: TabularPolicy, world: ReasonerWorld, *, problems: int, samples: int = 1, seed: Seed = 0
) -> TabularRollouts:
    """Solve `problems` problems `samples` times.

    All chance is keyed by (seed, problem, sample): sizes by problem, slips by item, decisions and executions
    by number of the sentence. So two policies meet the same problems and the same slips, and more problems or
    samples change nothing about the others. Problems are independent draws: n replicates of m problems are
    one call with n * m.

    Raises:
        DataError: problems or samples < 1.
    """
    if problems < 1 or samples < 1:
        raise DataError(
            f"{problems} problems x {samples} samples", allowed="at least 1 x 1", do="simulate at least one"
        )
    rows = _Lockstep(policy, world, problems=problems, samples=samples, seed=seed)
    for t in range(world.max_sentences):
        if not len(rows.active):
            break
        rows.write(t)
    by_problem = (problems, samples)
    by_kind = (problems, samples, len(KINDS))
    return TabularRollouts(
        rows.correct.reshape(by_problem),
        (rows.correct & rows.worked_out).reshape(by_problem),
        (rows.correct | rows.worked_out).reshape(by_problem),
        ~rows.answered.reshape(by_problem),
        rows.items.reshape(by_problem)[:, 0],
        rows.slipped.reshape(*by_problem, -1),
        rows.onsets.sum(axis=1).reshape(by_problem),
        rows.boundaries.reshape(*by_problem, len(Status), 2),
        rows.offered.reshape(by_kind),
        rows.onsets.reshape(by_kind),
        rows.executed.reshape(by_kind),
    )


@dataclass(eq=False)
class _Sentences:
    """One sentence of every active row: where it is, its kind, and the numbers drawn for its execution."""

    row: Int[np.ndarray, " active"]
    kind: Int[np.ndarray, " active"]
    luck: Float[np.ndarray, " active"]  # below the skill, the sentence is carried out rightly
    digit: Float[np.ndarray, " active"] = field(repr=False)  # whether two wrong values agree by chance

    def of_kind(self, kind: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, luck and digit of the sentences of one kind."""
        selected = self.kind == kind
        return self.row[selected], self.luck[selected], self.digit[selected]


@final
class _Lockstep:
    """All solutions in lockstep, one sentence at a time; a row that answered is left alone."""

    def __init__(
        self, policy: TabularPolicy, world: ReasonerWorld, *, problems: int, samples: int, seed: int
    ) -> None:
        n = problems * samples
        # One stream of numbers per purpose: what one policy draws more of shifts nothing for another.
        sizes = draw(row_keys(seed, "items", problems=problems)[:, 0], 0)
        self._skills, self._agree_by_chance = policy.execution, 1.0 / (world.digits - 1)
        self._thresholds, self._can_begin = policy.onset.table().cumsum(axis=-1)[..., :-1], opportunities()
        self._keys = {s: row_keys(seed, s, problems=problems, samples=samples).ravel() for s in _STREAMS}
        self.items = np.repeat(np.array(world.items)[(sizes * len(world.items)).astype(int)], samples)
        item = np.arange(max(world.items))
        self.slipped = draw(self._keys["slip"][:, None], item[None, :]) < world.slip
        self.slipped &= item < self.items[:, None]
        self.active = np.arange(n)
        self.correct, self.answered = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        self._carried, self._wrong = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        self._done, self._status = np.zeros(n, dtype=int), np.full(n, int(Status.SETTLED))
        self.boundaries = np.zeros((n, len(Status), 2), dtype=int)
        self.offered, self.onsets, self.executed = (np.zeros((n, len(KINDS)), dtype=int) for _ in range(3))

    @property
    def worked_out(self) -> Bool[np.ndarray, " row"]:
        """Whether every item is worked off and the standing value is right."""
        return (self._done == self.items) & ~self._carried & ~self._wrong

    def write(self, t: int) -> None:
        """Sentence `t` of every row that has not answered."""
        row = self.active
        situation = self._status[row], (self._done[row] < self.items[row]).astype(int)
        chance = draw(self._keys["onset"][row], t)
        # Inverse of the cumulated probabilities: the number of thresholds that the draw is not below.
        kind = (chance[:, None] >= self._thresholds[situation]).sum(axis=-1)
        luck, digit = draw(self._keys["execution"][row], t), draw(self._keys["digit"][row], t)
        sentences = _Sentences(row, kind, luck, digit)
        self.boundaries[(row, *situation)] += 1
        self.offered[row] += self._can_begin[situation]
        self.onsets[row, kind] += 1
        self.executed[row[kind == UNCERTAIN], UNCERTAIN] += 1
        self._step(sentences)
        self._check(sentences)
        self._backtrack(sentences)
        self._conclude(sentences)
        self.active = row[~self.answered[row]]

    def _step(self, sentences: _Sentences) -> None:
        row, luck, _ = sentences.of_kind(STEP)
        right = luck < self._skills.step
        self.executed[row, STEP] += right
        self._carried[row] |= self._wrong[row]
        self._wrong[row] = ~right | self.slipped[row, self._done[row]]
        self._done[row] += 1
        self._status[row] = Status.UNVERIFIED

    def _check(self, sentences: _Sentences) -> None:
        row, luck, digit = sentences.of_kind(CHECK)
        right = luck < self._skills.check
        self.executed[row, CHECK] += right
        agrees = np.where(self._wrong[row], ~right & (digit < self._agree_by_chance), right)
        self._status[row] = np.where(agrees, Status.SETTLED, Status.CONTRADICTED)

    def _backtrack(self, sentences: _Sentences) -> None:
        row, luck, _ = sentences.of_kind(BACKTRACK)
        right = luck < self._skills.backtrack
        self.executed[row, BACKTRACK] += right
        self._wrong[row] = ~right
        self._status[row] = Status.SETTLED

    def _conclude(self, sentences: _Sentences) -> None:
        row, luck, _ = sentences.of_kind(CONCLUDE)
        guessed = self._done[row] < self.items[row]
        sound = ~(self._carried[row] | self._wrong[row])
        right = luck < np.where(guessed, self._skills.guess, self._skills.conclude)
        self.executed[row, CONCLUDE] += right
        self.correct[row] = right & (guessed | sound)
        self.answered[row] = True
