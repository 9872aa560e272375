"""Stage `rollouts`: text of both models, on which everything else is fitted and measured."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from reasonmech.behaviours import onset_rate, verified_rate
from reasonmech.errors import DataError
from reasonmech.experiments.ledger import Cause, Ledger
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.tables import Condition
from reasonmech.hosts import ModelPair
from reasonmech.problem import ProblemSet
from reasonmech.ranges import Seed
from reasonmech.rollout import Rollouts, Trace
from reasonmech.runtime import Decode, as_read_by, generate
from reasonmech.stats import rate_interval
from reasonmech.tasks import GradesByOutcome, Split, load_task, outcomes, parse, tasks
from reasonmech.tasks.questions import check_behaviour

Source = Literal["base", "thinking", "study_base", "study_thinking"]


def read_rollouts(context: StageContext, source: Source) -> Rollouts:
    """Rollouts that the stage wrote: on fitting problems, and (`study_...`) on the evaluation problems."""
    return Rollouts.load(context.of("rollouts") / f"{source}.jsonl")


def read_by_base(context: StageContext, source: Source) -> Rollouts:
    """The same rollouts as the base reads them, whose tokenizer may encode a prompt otherwise."""
    return as_read_by(context.pair.base, read_rollouts(context, source))


class WriteRollouts(Stage):
    """Let both models answer fitting and evaluation problems, and count what they do.

    The base is sampled, so that what it does now and then is seen; the thinking model decodes as the arms do.
    """

    kind: Literal["rollouts"] = "rollouts"
    n: int = Field(600, gt=0, description="fitting problems")
    split: Split = Field("train", description="split of the fitting problems")
    seed: Seed = Field(1, description="of the fitting problems")
    temperature: float = Field(1.0, ge=0, description="at which the base is sampled")
    samples: int = Field(4, gt=0, description="base rollouts per fitting problem")
    study_samples: int = Field(4, gt=0, description="base rollouts per evaluation problem")
    behaviours: tuple[str, ...] = Field(
        ("step", "check", "backtrack"), description="whose onset rates are counted"
    )

    def run(self, context: StageContext) -> None:
        fitting = load_task(context.problems.task, n=self.n, seed=self.seed, split=self.split)
        tables: list[pd.DataFrame] = []
        conditions: list[Condition] = []
        ledger = Ledger()
        for name, problems, samples in (
            ("", fitting, self.samples),
            ("study_", context.problems, self.study_samples),
        ):
            base = self._sampled(context, problems, samples=samples)
            thinking = generate(
                context.pair.thinking, problems, decode=context.decode, progress=context.progress
            )
            for side, written in (("base", base), ("thinking", thinking)):
                written.save(context.out / f"{name}{side}.jsonl")
                if name:
                    condition = Condition(f"{side} text", side, tags={"study": "rates"})
                    conditions.append(condition)
                    tables += self._rates(condition, written, ledger)
                    tables += _outcome_rows(condition, written)
        context.write_conditions(conditions)
        context.write_results(tables)
        context.write_ledger(ledger)

    def check_pair(self, pair: ModelPair, task: str) -> None:
        for behaviour in self.behaviours:
            check_behaviour(task, behaviour)

    def _sampled(self, context: StageContext, problems: ProblemSet, *, samples: int) -> Rollouts:
        decode = Decode(
            max_new_tokens=context.decode.max_new_tokens,
            temperature=self.temperature,
            seed=context.seed,
            samples=samples,
            batch_size=context.decode.batch_size,
        )
        return generate(context.pair.base, problems, decode=decode, progress=context.progress)

    def _rates(self, condition: Condition, rollouts: Rollouts, ledger: Ledger) -> list[pd.DataFrame]:
        """Onsets per opportunity and executions that did their job, with intervals by problem."""
        traces, tables = parse(rollouts), []
        of_problem: dict[str, list[Trace]] = {}
        for trace in traces:
            of_problem.setdefault(trace.rollout.problem.id, []).append(trace)
        for behaviour in self.behaviours:
            for metric, rate in (("onset_rate", onset_rate), ("verified_rate", verified_rate)):
                item = f"{metric} of {behaviour} in {condition.name}"
                ledger.plan("rate", item)
                try:
                    total = rate(traces, behaviour)
                    counts = np.array([rate(part, behaviour) for part in of_problem.values()])
                except DataError as error:  # such as a category, of which nothing says whether it did its job
                    ledger.miss("rate", item, cause=Cause.of(error))
                    continue
                if not total.n:
                    ledger.miss("rate", item, cause=_nothing_to_count(metric, behaviour, len(traces)))
                    continue
                ends = rate_interval(counts[:, 0], counts[:, 1])
                for suffix, value in (("", total.value), (".low", ends.low), (".high", ends.high)):
                    tables.append(condition.rows(f"{metric}:{behaviour}{suffix}", [value], unit="share"))
        return tables


def _outcome_rows(condition: Condition, rollouts: Rollouts) -> list[pd.DataFrame]:
    """Share of each outcome with its interval by problem, where a task tells more than right or wrong."""
    if not isinstance(tasks.get(rollouts.task), GradesByOutcome):
        return []
    return [
        condition.rows(f"outcome:{row['outcome']}{suffix}", [row[column]], unit="share")
        for row in outcomes(rollouts).table().to_dict("records")
        for suffix, column in (("", "share"), (".low", "low"), (".high", "high"))
        if np.isfinite(row[column])
    ]


def _nothing_to_count(metric: str, behaviour: str, n: int) -> Cause:
    what = "could begin" if metric == "onset_rate" else "is carried out"
    return Cause("DataError", f"{behaviour} {what} nowhere in {n} rollouts", do="use more rollouts")


stages.register("rollouts")(WriteRollouts)  # called, so that type checkers keep the class
