"""A stage of an experiment."""

from __future__ import annotations

from typing import Literal

from reasonmech.experiments import Condition, Stage, StageContext
from reasonmech.experiments.stages import stages


@stages.register("hello")
class Hello(Stage):
    """Count the problems."""

    kind: Literal["hello"] = "hello"
    greeting: str = "hello"

    def run(self, context: StageContext) -> None:
        base = Condition("base", "base")
        context.write_conditions([base])
        context.write_results([base.rows(self.greeting, [len(context.problems)], unit="problems")])
        context.write_generations([])
