"""Stage `budget`: how far a few of the other model's tokens go, whichever of the two writes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reasonmech.experiments.stages.base import Notes, Stage, StageContext, stages
from reasonmech.experiments.stages.clamped import tuning_problems
from reasonmech.experiments.tables import BUDGET_CURVES_FILE, BUDGET_POINTS_FILE
from reasonmech.hybrid.budget import BudgetConfig, measure_budget


@stages.register("budget")  # the kind is what configurations on disk say
class MeasureBudget(Stage):
    """Budget curves (`hybrid.measure_budget`) on the evaluation problems, with thresholds of tuning ones."""

    needs = ()

    kind: Literal["budget"] = "budget"
    problems: int = Field(
        100, ge=2, description="evaluation problems, the first ones, that every point answers"
    )
    tuning: int = Field(20, ge=1, description="problems of the tuning split on which thresholds are set")
    curves: BudgetConfig = Field(
        default_factory=BudgetConfig, description="rankings, shares, writers, second_choice, draws, seed"
    )

    def run(self, context: StageContext) -> None:
        config = self.curves
        if "seed" not in config.model_fields_set:
            config = config.model_copy(update={"seed": context.seed})
        budget = measure_budget(
            context.pair,
            context.problems[: self.problems],
            tuning=tuning_problems(context, self.tuning),
            config=config,
            decode=context.decode,
            progress=context.progress,
        )
        context.write_table(budget.points, BUDGET_POINTS_FILE)
        context.write_table(budget.summary, BUDGET_CURVES_FILE)
        notes = Notes()
        for sentence in budget.sentences:
            notes.add_remark(sentence)
        context.write_notes(notes.lines)
