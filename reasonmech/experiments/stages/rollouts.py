"""Stage `rollouts`: text of both models, on which everything else is fitted and measured."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pydantic import Field

from reasonmech.behaviours import behaviours, onset_rate, verified_rate
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.tables import Condition
from reasonmech.hosts import Host
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime import Decode, generate
from reasonmech.stats import clopper_pearson
from reasonmech.tasks import Split, load_task, parse

Source = Literal["base", "thinking", "greedy", "study_base", "study_thinking"]


def read_rollouts(context: StageContext, source: Source) -> Rollouts:
    """Rollouts that the stage wrote: `base`, `thinking` and `greedy` (the thinking model's) on the fitting problems,
    `study_base` and `study_thinking` on the evaluation problems."""
    return Rollouts.load(context.of("rollouts") / f"{source}.jsonl")


@stages.register("rollouts")
class WriteRollouts(Stage):
    """Sample both models on fitting problems and on the evaluation problems, and count what they do."""

    kind: Literal["rollouts"] = "rollouts"
    n: int = Field(600, gt=0, description="fitting problems")
    split: Split = Field("train", description="split of the fitting problems")
    seed: int = Field(1, description="of the fitting problems")
    temperature: float = Field(1.0, ge=0, description="at which both models are sampled")
    samples: int = Field(4, gt=0, description="base rollouts per fitting problem (the thinking model: one)")
    study_samples: int = Field(4, gt=0, description="base rollouts per evaluation problem (the thinking model: one)")
    behaviours: tuple[str, ...] = Field(("step", "check", "backtrack"), description="whose onset rates are counted")

    def run(self, context: StageContext) -> None:
        task = context.problems.task
        fitting = load_task(task, n=self.n, seed=self.seed, split=self.split)
        base, thinking = context.pair.base, context.pair.thinking
        tables: list[pd.DataFrame] = []
        conditions: list[Condition] = []
        for name, problems in (("", fitting), ("study_", context.problems)):
            samples = self.study_samples if name else self.samples
            for host, side, many in ((base, "base", samples), (thinking, "thinking", 1)):
                written = self._sample(context, host, problems, samples=many)
                written.save(context.out / f"{name}{side}.jsonl")
                if name:
                    condition = Condition(f"{side} sampled", side, tags={"study": "rates"})
                    conditions.append(condition)
                    tables += self._rates(condition, written)
        greedy = generate(thinking, fitting, decode=context.decode, progress=context.progress)
        greedy.save(context.out / "greedy.jsonl")
        context.write_conditions(conditions)
        context.write_results(tables)

    def _sample(self, context: StageContext, host: Host, problems: ProblemSet, *, samples: int) -> Rollouts:
        decode = Decode(
            max_new_tokens=context.decode.max_new_tokens,
            temperature=self.temperature,
            seed=context.seed,
            samples=samples,
            batch_size=context.decode.batch_size,
        )
        return generate(host, problems, decode=decode, progress=context.progress)

    def _rates(self, condition: Condition, rollouts: Rollouts) -> list[pd.DataFrame]:
        """Onsets per opportunity and executions that did their job, with exact intervals over opportunities."""
        traces, tables = parse(rollouts), []
        for behaviour in self.behaviours:
            behaviours.get(behaviour)
            for metric, rate in (("onset_rate", onset_rate), ("verified_rate", verified_rate)):
                found = rate(traces, behaviour)
                if not found.n:
                    continue
                ends = clopper_pearson(found.hits, found.n)
                for suffix, value in (("", found.value), (".low", ends.low), (".high", ends.high)):
                    tables.append(condition.rows(f"{metric}:{behaviour}{suffix}", [value], unit="share"))
        return tables
