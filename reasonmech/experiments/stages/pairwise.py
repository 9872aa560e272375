"""Stage `pairwise`: statistics of the pair on what both models wrote on the evaluation problems."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
from pydantic import Field, field_validator

from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.experiments.tables import PAIRWISE_FILE
from reasonmech.pairwise import PairRollouts, measure_from_config, measure_pair


@stages.register("pairwise")
class MeasurePair(Stage):
    """Registered measures of the pair, each with its control and its interval by problem."""

    needs = ("rollouts",)

    kind: Literal["pairwise"] = "pairwise"
    measures: tuple[str | dict[str, Any], ...] = Field(
        ("divergence",),
        min_length=1,
        description="kinds, or mappings of a kind and its settings: {kind: divergence, threshold: 0.1}",
    )

    @field_validator("measures")
    @classmethod
    def _kinds_exist(cls, configs: tuple[str | dict[str, Any], ...]) -> tuple[str | dict[str, Any], ...]:
        for config in configs:
            measure_from_config(config)
        return configs

    def run(self, context: StageContext) -> None:
        rollouts = PairRollouts(
            base=read_rollouts(context, "study_base"), thinking=read_rollouts(context, "study_thinking")
        )
        tables, ledger = [], Ledger()
        for config in self.measures:
            with ledger.attempt("measure", config if isinstance(config, str) else str(config["kind"])):
                tables.append(measure_pair(context.pair, rollouts, [config]))
        if tables:
            context.write_table(pd.concat(tables, ignore_index=True), PAIRWISE_FILE)
        context.write_ledger(ledger)
