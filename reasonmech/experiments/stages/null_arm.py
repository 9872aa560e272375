"""The full arm of a run on some problems, and what draws of its nulls write there, many in a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from reasonmech.errors import DataError
from reasonmech.experiments.stages.arm_answers import FULL_LOG
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.hybrid_arms import SITE_FILE
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.hybrid import (
    ControllerLog,
    DisagreementGate,
    Hybrid,
    Kinds,
    OfThinking,
    Times,
    Vectors,
    WrongCategory,
)
from reasonmech.hybrid.draws import ScheduleDraws, SelectorDraws, VectorDraws, repeat
from reasonmech.hybrid.vector_forms import VectorScale
from reasonmech.json_text import read_value
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime import generate
from reasonmech.tasks import grade

What = Literal["vectors", "categories", "positions"]  # what differs from draw to draw


class Answered(NamedTuple):
    """What draws did: every row of `rollouts` [draw, problem, sample], flat.

    Attributes:
        correct: [draw, problem] share of right answers.
    """

    rollouts: Rollouts
    correct: Float[np.ndarray, "draw problem"]


class StoredVectors(NamedTuple):
    """Category vectors of stage `arms`.

    Attributes:
        again: [training, category, d_model] those of further trainings; None where there are none.
    """

    vectors: Vectors
    again: Tensor | None


def read_vectors(context: StageContext) -> StoredVectors:
    """The category vectors of stage `arms`. Raises DataError where it trained none."""
    file = context.of("arms") / "tensors.safetensors"
    if not file.exists():
        cause = context.ledger_of("arms").cause("ingredient", "vectors")
        raise DataError("stage `arms` trained no vectors") if cause is None else cause.as_error()
    tensors = load_file(file)
    site = (context.of("arms") / SITE_FILE).read_text()
    table, trained = tensors["category_vectors"], tensors["category_trained"].bool()
    scale, state = None, {n.removeprefix("scale."): t for n, t in tensors.items() if n.startswith("scale.")}
    if state:
        scale = VectorScale(table.shape[1], len(table))
        scale.load_state_dict(state)
    vectors = Vectors(context.pair.base, site, table=table, trained=trained, scale=scale)
    return StoredVectors(vectors, tensors.get("trained_again"))


@dataclass(frozen=True, eq=False)
class SteeredProblems:
    """Problems that the full arm answered, and where it steered them."""

    context: StageContext
    vectors: Vectors
    kinds: Kinds
    problems: ProblemSet
    full: Rollouts
    times: Times

    @classmethod
    def answer(
        cls, context: StageContext, vectors: Vectors, kinds: Kinds, problems: ProblemSet
    ) -> SteeredProblems:
        """Let the full arm answer them."""
        log = ControllerLog()
        full = Hybrid(
            context.pair,
            gate=DisagreementGate(),
            selector=OfThinking(),
            executor=vectors,
            kinds=kinds,
            log=log,
        )
        written = generate(full, problems, decode=context.decode, progress=context.progress)
        return cls(context, vectors, kinds, problems, written, Times.of(written, log, kinds))

    @classmethod
    def read(
        cls, context: StageContext, vectors: Vectors, kinds: Kinds, problems: ProblemSet
    ) -> SteeredProblems:
        """What it answered in stage `arms`, problems the first ones of the run's; or let it answer."""
        folder = context.of("arms")
        if not (folder / FULL_LOG).exists():
            return cls.answer(context, vectors, kinds, problems)
        written = _first(Rollouts.load(folder / "full.jsonl"), problems)
        log = ControllerLog.from_json(read_value(folder / FULL_LOG, do="run the stage `arms` again"))
        return cls(context, vectors, kinds, problems, written, Times.of(written, log, kinds))

    def answer_as(self, what: What, tables: Tensor, draws: int) -> Answered:
        """What draws write, all in one run.

        Args:
            tables: [run, category, d_model], the vectors of draw after draw, at one dose after another.
            draws: how many draws: run number r is of draw r % draws.
        """
        context, n = self.context, len(self.problems) * self.context.decode.samples
        gate, selector = DisagreementGate(), OfThinking()
        if what == "categories":
            trained = tuple(self.vectors.trained.nonzero()[:, 0].tolist())
            if len(trained) < 2:
                raise DataError("1 category has a vector: there is no other one", do="leave `categories` out")
            selector = SelectorDraws(WrongCategory(trained, seed=context.seed), n, draws)
        elif what == "positions":
            schedules = [self.times.shuffled(context.seed + draw) for draw in range(draws)]
            gate = selector = ScheduleDraws(schedules, n)
        hybrid = Hybrid(
            context.pair,
            gate=gate,
            selector=selector,
            executor=VectorDraws(self.vectors, tables, n),
            kinds=self.kinds,
        )
        rollouts = generate(
            hybrid, repeat(self.problems, len(tables)), decode=context.decode, progress=context.progress
        )
        return graded(rollouts, len(tables), len(self.problems))


@dataclass(frozen=True, eq=False)
class FullArm:
    """The full arm between the base and the thinking model.

    Attributes:
        correct: [problem] share of right answers of the full arm.
        base, thinking: share of right answers.
    """

    steered: SteeredProblems
    correct: Float[np.ndarray, " problem"]
    base: float
    thinking: float

    @classmethod
    def read(cls, context: StageContext, vectors: Vectors, kinds: Kinds, problems: ProblemSet) -> FullArm:
        """What the three answered in earlier stages, on the first problems of the run; else they answer."""
        steered = SteeredProblems.read(context, vectors, kinds, problems)
        base_file = context.of("arms") / "base.jsonl"
        if base_file.exists():
            base = _first(Rollouts.load(base_file), problems)
            thinking = _first(read_rollouts(context, "study_thinking"), problems)
        else:
            base, thinking = (
                generate(host, problems, decode=context.decode, progress=context.progress)
                for host in (context.pair.base, context.pair.thinking)
            )
        right = graded(steered.full, 1, len(problems)).correct[0]
        return cls(steered, right, float(grade(base).mean()), float(grade(thinking).mean()))

    @property
    def gap(self) -> float:
        return self.thinking - self.base

    def recovery(self, accuracy: float) -> float:
        """Share of the gap; NaN where there is none."""
        return (accuracy - self.base) / self.gap if self.gap else float("nan")


def graded(rollouts: Rollouts, draws: int, problems: int) -> Answered:
    """Rollouts of draw after draw, with what is right of them."""
    return Answered(rollouts, grade(rollouts).reshape(draws, problems, -1).astype(float).mean(2))


def _first(written: Rollouts, problems: ProblemSet) -> Rollouts:
    """The answers to these problems."""
    ids = {problem.id for problem in problems}
    return Rollouts(
        [rollout for rollout in written if rollout.problem.id in ids],
        task=written.task,
        writer=written.writer,
    )
