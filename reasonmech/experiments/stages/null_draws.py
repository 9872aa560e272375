"""Stage `nulls`: the full arm among draws of its nulls, each draw at its own best dose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor

from reasonmech.errors import DataError
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import Notes, Stage, StageContext, stages
from reasonmech.experiments.stages.clamped import tuning_problems
from reasonmech.experiments.stages.hybrid_arms import SITE_FILE
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.experiments.tables import NULL_DRAWS_FILE, NULLS_FILE
from reasonmech.hybrid import (
    ControllerLog,
    DisagreementGate,
    Hybrid,
    Kinds,
    NeutralTexts,
    OfThinking,
    Times,
    Vectors,
    WrongCategory,
    percent_steered,
)
from reasonmech.hybrid.draws import ScheduleDraws, SelectorDraws, VectorDraws, repeat
from reasonmech.hybrid.matching import Matched, vectors_of_strength
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime import generate
from reasonmech.stats import null_distribution
from reasonmech.tasks import grade, tasks

NullKind = Literal["vectors_norm", "vectors_kl", "categories", "positions"]
WHAT: Final[Mapping[NullKind, str]] = {
    "vectors_norm": "random directions with the vectors' norms",
    "vectors_kl": "random directions with the vectors' KL on neutral text",
    "categories": "another category's vector, drawn anew at every open gate",
    "positions": "full's categories, as many per problem, at boundaries drawn among all of its text",
}


@dataclass(frozen=True, eq=False)
class Answered:
    """What the draws of a null did: every row of `rollouts` [draw, problem, sample], flat.

    Attributes:
        correct: [draw, problem] share of right answers.
    """

    rollouts: Rollouts
    correct: Float[np.ndarray, "draw problem"]


@stages.register("nulls")
class RunNulls(Stage):
    """Decode draws of every null of `full`, many in a batch, and rank the arm among them."""

    needs = ("rollouts", "arms")

    kind: Literal["nulls"] = "nulls"
    nulls: tuple[NullKind, ...] = Field(get_args(NullKind), min_length=1, description="which nulls are drawn")
    draws: int = Field(20, ge=1, description="draws of each; 19 or more have a 95 % quantile")
    problems: int = Field(
        50, ge=2, description="evaluation problems, the first ones, that every draw answers"
    )
    doses: tuple[float, ...] = Field(
        (0.5, 1.0, 2.0), min_length=1, description="multiples of the vectors, of which each draw has its best"
    )
    tuning: int = Field(8, ge=1, description="problems of the tuning split on which a draw's dose is chosen")

    def run(self, context: StageContext) -> None:
        kinds = tasks.get(context.problems.task).kinds(context.pair.thinking.tokenizer)
        vectors, ledger, notes = _vectors(context), Ledger(), Notes()
        problems = context.problems[: self.problems]
        judged = _Arm.answer(context, vectors, kinds, problems)
        tuned = _Arm.answer(context, vectors, kinds, tuning_problems(context, self.tuning))
        rows, draws = [], []
        for null in self.nulls:
            with ledger.attempt("null", null):
                tables, shortfall = self._tables(context, null, vectors)
                if shortfall:
                    notes.add_remark(f"null {null}: {shortfall}")
                dose = self._best_doses(context, null, tuned, tables)
                answered = judged.answer_as(context, null, tables * dose[:, None, None])
                rows.append(_summary(null, judged, answered, shortfall))
                draws += _draw_rows(null, judged, answered, dose)
        if rows:
            context.write_table(pd.DataFrame(rows), NULLS_FILE)
            context.write_table(pd.DataFrame(draws), NULL_DRAWS_FILE)
        for row in rows:
            notes.add_remark(str(row["sentence"]))
        context.write_notes(notes.lines)
        context.write_ledger(ledger)

    def _tables(
        self, context: StageContext, null: NullKind, vectors: Vectors
    ) -> tuple[Float[Tensor, "draw category d_model"], str]:
        """Vectors of every draw at dose 1, and what could not be matched."""
        table, n = vectors.table.float().cpu(), self.draws
        if null in ("categories", "positions"):
            return table.expand(n, -1, -1).clone(), ""
        generator = torch.Generator().manual_seed(context.seed)
        noise = torch.randn(n, *table.shape, generator=generator)
        norms = table.norm(dim=-1)
        if null == "vectors_norm":
            return noise / noise.norm(dim=-1, keepdim=True) * norms[:, None], ""
        texts = NeutralTexts.draw(
            context.pair.base, read_rollouts(context, "thinking"), n=12, seed=context.seed
        )
        trained = vectors.trained.nonzero()[:, 0]
        target = texts.kl_of_vectors(table[trained], vectors.site)
        tables, shortfalls = torch.zeros(n, *table.shape), []
        for column, category in enumerate(trained.tolist()):
            directions = noise[:, category]
            goal, first = target[column].expand(n), norms[category].expand(n)
            tables[:, category], matched = vectors_of_strength(directions, goal, first, vectors.site, texts)
            shortfalls.append(matched)
        return tables, _join(shortfalls).describe_shortfall()

    def _best_doses(
        self, context: StageContext, null: NullKind, tuned: _Arm, tables: Tensor
    ) -> Float[Tensor, " draw"]:
        """The dose at which each draw answers most tuning problems; of equals the first."""
        if len(self.doses) == 1:
            return torch.full((self.draws,), self.doses[0])
        right = [tuned.answer_as(context, null, tables * dose).correct.mean(1) for dose in self.doses]
        return torch.tensor(self.doses)[torch.tensor(np.array(right)).argmax(0)]


@dataclass(frozen=True, eq=False)
class _Arm:
    """The full arm, the base and the thinking model on some problems, and where the arm steered."""

    vectors: Vectors
    kinds: Kinds
    problems: ProblemSet
    full: Answered
    base: float
    thinking: float
    times: Times

    @classmethod
    def answer(cls, context: StageContext, vectors: Vectors, kinds: Kinds, problems: ProblemSet) -> _Arm:
        pair, log = context.pair, ControllerLog()
        full = Hybrid(
            pair, gate=DisagreementGate(), selector=OfThinking(), executor=vectors, kinds=kinds, log=log
        )
        texts = [
            generate(writer, problems, decode=context.decode, progress=context.progress)
            for writer in (full, pair.base, pair.thinking)
        ]
        base, thinking = (float(grade(of_model).mean()) for of_model in texts[1:])
        answered = _graded(texts[0], 1, len(problems))
        return cls(vectors, kinds, problems, answered, base, thinking, Times.of(texts[0], log, kinds))

    def answer_as(self, context: StageContext, null: NullKind, tables: Tensor) -> Answered:
        """What draws of a null write on these problems, all in one run."""
        draws, n = len(tables), len(self.problems) * context.decode.samples
        gate, selector = DisagreementGate(), OfThinking()
        if null == "categories":
            trained = tuple(self.vectors.trained.nonzero()[:, 0].tolist())
            if len(trained) < 2:
                raise DataError("1 category has a vector: there is no other one", do="leave `categories` out")
            selector = SelectorDraws(WrongCategory(trained, seed=context.seed), n)
        elif null == "positions":
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
            hybrid, repeat(self.problems, draws), decode=context.decode, progress=context.progress
        )
        return _graded(rollouts, draws, len(self.problems))


def _graded(rollouts: Rollouts, draws: int, problems: int) -> Answered:
    return Answered(rollouts, grade(rollouts).reshape(draws, problems, -1).astype(float).mean(2))


def _join(matched: list[Matched]) -> Matched:
    return Matched(*(torch.cat(columns) for columns in zip(*matched, strict=True)))


def _vectors(context: StageContext) -> Vectors:
    """The category vectors of stage `arms`. Raises DataError where it trained none."""
    file = context.of("arms") / "tensors.safetensors"
    if not file.exists():
        cause = context.ledger_of("arms").cause("ingredient", "vectors")
        raise DataError("stage `arms` trained no vectors") if cause is None else cause.as_error()
    tensors = load_file(file)
    site = (context.of("arms") / SITE_FILE).read_text()
    return Vectors(
        context.pair.base,
        site,
        table=tensors["category_vectors"],
        trained=tensors["category_trained"].bool(),
    )


def _summary(null: NullKind, arm: _Arm, answered: Answered, shortfall: str) -> dict[str, object]:
    """A row of `nulls.parquet`."""
    among = null_distribution(arm.full.correct[0], answered.correct)
    gap = arm.thinking - arm.base
    return {
        "arm": "full",
        "null": null,
        "what": WHAT[null],
        "n_draws": among.n,
        "n_problems": len(arm.problems),
        "base": arm.base,
        "thinking": arm.thinking,
        "accuracy": among.arm,
        "share_below": among.share_below,
        "p": among.p,
        "smallest_p": among.smallest_p,
        "q95": among.quantile.estimate,
        "q95.low": among.quantile.low,
        "q95.high": among.quantile.high,
        "q95_recovery": (among.quantile.estimate - arm.base) / gap if gap else float("nan"),
        "above": among.above.estimate,
        "above.low": among.above.low,
        "above.high": among.above.high,
        "spread": among.spread,
        "largest": float(among.draws[-1]),
        "shortfall": shortfall,
        "sentence": f"full ({among.arm:.1%} right) against null {null} ({WHAT[null]}, each draw at its best "
        f"dose, {len(arm.problems)} problems): {among}",
    }


def _draw_rows(null: NullKind, arm: _Arm, answered: Answered, dose: Tensor) -> list[dict[str, object]]:
    """Rows of `null_draws.parquet`: one per draw."""
    n, gap, rows = len(answered.rollouts) // len(dose), arm.thinking - arm.base, []
    for draw, correct in enumerate(answered.correct):
        of_draw = answered.rollouts[draw * n : (draw + 1) * n]
        steered = percent_steered(of_draw)
        rows.append(
            {
                "arm": "full",
                "null": null,
                "draw": draw,
                "dose": float(dose[draw]),
                "n_problems": len(arm.problems),
                "accuracy": float(correct.mean()),
                "recovery": (float(correct.mean()) - arm.base) / gap if gap else float("nan"),
                "percent_steered": steered.share,
                "steered_per_problem": steered.steered / n,
                "mean_length": float(np.mean([len(r.ids) for r in of_draw])),
            }
        )
    return rows
