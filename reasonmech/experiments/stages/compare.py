"""Stage `compare`: is the coder worth having, beside a difference of means and a probe at equal tuning?"""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pydantic import Field
from tqdm.auto import tqdm

from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.locate import SearchScope, labels_among, read_text
from reasonmech.experiments.tables import DETECTORS_FILE
from reasonmech.hosts import ModelPair
from reasonmech.locate import Comparison, Search, compare_detectors
from reasonmech.tasks.questions import check_behaviour


@stages.register("compare")
class CompareDetectors(Stage):
    """Per behaviour a group of features, the best single one, DiffMean and a probe, on held-out text.

    Every coder is tried; the one whose group did best in the inner folds speaks, so held-out problems choose
    nothing.
    """

    needs = ("rollouts", "coders")

    kind: Literal["compare"] = "compare"
    behaviours: tuple[str, ...] = Field(("check", "backtrack"), min_length=1)
    where: SearchScope = Field(
        SearchScope(source="thinking", among="boundaries"),
        description="on which text, and among which of its positions",
    )
    rows: int = Field(2500, gt=0, description="most rows; drawn beyond that")
    draws: int = Field(300, gt=0, description="bootstrap draws per interval")

    def run(self, context: StageContext) -> None:
        coders, search = read_coders(context), Search(draws=self.draws, seed=context.seed)
        text = read_text(context, self.where.source, coders)
        tables, ledger = [], Ledger()
        for behaviour in tqdm(self.behaviours, desc="compare", disable=not context.progress):
            comparisons: list[tuple[str, Comparison]] = []
            for name, coder in coders.items():
                with ledger.attempt("comparison", f"comparison of detectors of {behaviour} in {name}"):
                    labels = labels_among(
                        text, behaviour, self.where.among, rows=self.rows, seed=context.seed
                    )
                    comparisons.append((name, compare_detectors(text.acts, labels, coder, search=search)))
            if comparisons:
                tables.append(_rows(*max(comparisons, key=lambda named: _inner_auroc(named[1]))))
        if tables:
            context.write_table(pd.concat(tables, ignore_index=True), DETECTORS_FILE)
        context.write_ledger(ledger)

    def check_pair(self, pair: ModelPair, task: str) -> None:
        for behaviour in self.behaviours:
            check_behaviour(task, behaviour)


def _inner_auroc(comparison: Comparison) -> float:
    """AUROC of the group in the inner folds, by which a coder is chosen."""
    frame = comparison.frame
    return float(frame.loc[frame["detector"] == "group", "inner"].iloc[0])


def _rows(coder: str, comparison: Comparison) -> pd.DataFrame:
    return comparison.frame.assign(
        behaviour=comparison.behaviour,
        site=comparison.site,
        coder=coder,
        features=", ".join(map(str, comparison.features)),
        sae_is_lower=comparison.sae_is_lower,
        headline=comparison.headline,
    )
