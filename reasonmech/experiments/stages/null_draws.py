"""Stage `nulls`: the full arm among draws of its nulls, each draw at its own best dose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import Notes, Stage, StageContext, stages
from reasonmech.experiments.stages.clamped import tuning_problems
from reasonmech.experiments.stages.null_arm import Answered, FullArm, SteeredProblems, What, read_vectors
from reasonmech.experiments.stages.null_vectors import (
    NullTables,
    kl_matched,
    kl_matched_where_steered,
    norm_matched,
)
from reasonmech.experiments.stages.trainings import training_note, training_rows
from reasonmech.experiments.tables import NULL_DRAWS_FILE, NULLS_FILE, TRAININGS_FILE
from reasonmech.hybrid import Kinds, Vectors, percent_steered
from reasonmech.stats import null_distribution
from reasonmech.tasks import tasks

NullKind = Literal["vectors_norm", "vectors_kl", "vectors_kl_steered", "categories", "positions"]
WHAT: Final[Mapping[NullKind, str]] = {
    "vectors_norm": "random directions with the vectors' norms",
    "vectors_kl": "random directions with the vectors' KL on neutral text",
    "vectors_kl_steered": "random directions with the vectors' KL where these are used",
    "categories": "another category's vector, drawn anew at every open gate",
    "positions": "full's categories, as many per problem, at boundaries drawn among all of its text",
}
_DIFFERS: Final[Mapping[str, What]] = {"categories": "categories", "positions": "positions"}


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
        (vectors, again), ledger, notes = read_vectors(context), Ledger(), Notes()
        arm = FullArm.read(context, vectors, kinds, context.problems[: self.problems])
        tuned = SteeredProblems.answer(context, vectors, kinds, tuning_problems(context, self.tuning))
        rows, draws = [], []
        for null in self.nulls:
            with ledger.attempt("null", null):
                tables, shortfall = self._tables(context, null, vectors, kinds)
                if shortfall:
                    notes.add_remark(f"null {null}: {shortfall}")
                differs = _DIFFERS.get(null, "vectors")
                dose = self._best_doses(differs, tuned, tables)
                answered = arm.steered.answer_as(differs, tables * dose[:, None, None], self.draws)
                rows.append(_summary(null, arm, answered, shortfall))
                draws += _draw_rows(null, arm, answered, dose)
        if rows:
            context.write_table(pd.DataFrame(rows), NULLS_FILE)
            context.write_table(pd.DataFrame(draws), NULL_DRAWS_FILE)
        for row in rows:
            notes.add_remark(str(row["sentence"]))
        if again is not None:
            with ledger.attempt("trainings", "further trainings of the category vectors"):
                trainings = training_rows(arm, arm.steered.answer_as("vectors", again, len(again)))
                context.write_table(trainings, TRAININGS_FILE)
                notes.add_remark(training_note(trainings))
        context.write_notes(notes.lines)
        context.write_ledger(ledger)

    def _tables(self, context: StageContext, null: NullKind, vectors: Vectors, kinds: Kinds) -> NullTables:
        """Vectors of every draw at dose 1, and what could not be matched."""
        match null:
            case "vectors_norm":
                return norm_matched(vectors, self.draws, context.seed)
            case "vectors_kl":
                return kl_matched(context, vectors, self.draws)
            case "vectors_kl_steered":
                return kl_matched_where_steered(context, vectors, kinds, self.draws)
            case _:
                return NullTables(vectors.table.float().cpu().expand(self.draws, -1, -1).clone())

    def _best_doses(self, differs: What, tuned: SteeredProblems, tables: Tensor) -> Float[Tensor, " draw"]:
        """The dose at which each draw answers most tuning problems; of equals the first."""
        if len(self.doses) == 1:
            return torch.full((self.draws,), self.doses[0])
        at_doses = torch.cat([tables * dose for dose in self.doses])
        right = tuned.answer_as(differs, at_doses, self.draws).correct.mean(1)
        return torch.tensor(self.doses)[torch.tensor(right.reshape(len(self.doses), -1)).argmax(0)]


def _summary(null: NullKind, arm: FullArm, answered: Answered, shortfall: str) -> dict[str, object]:
    """A row of `nulls.parquet`."""
    among = null_distribution(arm.correct, answered.correct)
    n = len(arm.correct)
    return {
        "arm": "full",
        "null": null,
        "what": WHAT[null],
        "n_draws": among.n,
        "n_problems": n,
        "base": arm.base,
        "thinking": arm.thinking,
        "accuracy": among.arm,
        "share_below": among.share_below,
        "p": among.p,
        "smallest_p": among.smallest_p,
        "q95": among.quantile.estimate,
        "q95.low": among.quantile.low,
        "q95.high": among.quantile.high,
        "q95_recovery": arm.recovery(among.quantile.estimate),
        "above": among.above.estimate,
        "above.low": among.above.low,
        "above.high": among.above.high,
        "spread": among.spread,
        "largest": float(among.draws[-1]),
        "shortfall": shortfall,
        "sentence": f"full ({among.arm:.1%} right) against null {null} ({WHAT[null]}, each draw at its best "
        f"dose, {n} problems): {among}",
    }


def _draw_rows(null: NullKind, arm: FullArm, answered: Answered, dose: Tensor) -> list[dict[str, object]]:
    """Rows of `null_draws.parquet`: one per draw."""
    n, rows = len(answered.rollouts) // len(dose), []
    for draw, correct in enumerate(answered.correct):
        of_draw = answered.rollouts[draw * n : (draw + 1) * n]
        steered = percent_steered(of_draw)
        rows.append(
            {
                "arm": "full",
                "null": null,
                "draw": draw,
                "dose": float(dose[draw]),
                "n_problems": len(correct),
                "accuracy": float(correct.mean()),
                "recovery": arm.recovery(float(correct.mean())),
                "percent_steered": steered.share,
                "steered_per_problem": steered.steered / n,
                "mean_length": float(np.mean([len(r.ids) for r in of_draw])),
            }
        )
    return rows
