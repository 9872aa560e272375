"""Stage `metrics`: registered metrics of what every arm wrote, and of what both models would say next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from reasonmech.causal.metric_values import unedited_values
from reasonmech.errors import ConfigError, UnknownNameError
from reasonmech.experiments.ledger import Cause, Ledger
from reasonmech.experiments.stages.arm_tables import missing_arms
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.tables import METRICS_FILE, Condition, read_json
from reasonmech.metrics import RolloutMetric, metric_from_config, metrics
from reasonmech.rollout import Rollouts
from reasonmech.runtime.pass_rows import pass_rows
from reasonmech.stats import Interval, bounds_of, mean_interval

BATCH: Final = 128  # texts per pass
SIDES: Final = ("base", "thinking")


@dataclass(frozen=True, eq=False)
class MetricReading:
    """One metric of one condition.

    Attributes:
        values: [text]; NaN where there was nothing to measure.
        problems: [text] problem id.
    """

    metric: str
    unit: str
    condition: Condition
    values: np.ndarray
    problems: Sequence[str]

    @property
    def is_measured(self) -> bool:
        """Whether any text has a value."""
        return bool(np.isfinite(self.values).any())

    @cached_property
    def mean(self) -> Interval:
        """Over the texts that have a value, the unit of the interval being the problem."""
        finite = np.isfinite(self.values)
        problems = np.asarray(self.problems)[finite]
        return mean_interval(self.values[finite], problems, bounds=bounds_of(self.unit))

    def rows(self) -> pd.DataFrame:
        """Rows of the run's long table: every text, then the condition as a whole."""
        ends = {"": self.mean.estimate, ".low": self.mean.low, ".high": self.mean.high}
        texts = self.condition.rows(self.metric, self.values, unit=self.unit, problems=self.problems)
        wholes = [
            self.condition.rows(f"{self.metric}{end}", [value], unit=self.unit) for end, value in ends.items()
        ]
        return pd.concat([texts, *wholes], ignore_index=True)

    def summary(self) -> dict[str, object]:
        """One row of the run's table of metrics."""
        return {
            "metric": self.metric,
            "unit": self.unit,
            "condition": self.condition.name,
            "value": self.mean.estimate,
            "low": self.mean.low,
            "high": self.mean.high,
            "n": int(np.isfinite(self.values).sum()),
        }


@stages.register("metrics")
class MeasureMetrics(Stage):
    """Metrics beside accuracy, each with its interval by problem.

    A metric of rollouts reads what every arm wrote; one of what comes next reads the evaluation problems'
    prompts, in the base and in the thinking model.
    """

    needs = ("arms",)

    kind: Literal["metrics"] = "metrics"
    metrics: tuple[str | dict[str, Any], ...] = Field(
        min_length=1, description="kinds, or mappings of a kind and its settings: {kind: ..., good: ' yes'}"
    )
    arms: tuple[str, ...] = Field((), description="arms of the stage `arms` to read; empty: all")

    @field_validator("metrics")
    @classmethod
    def _kinds_exist(cls, configs: tuple[str | dict[str, Any], ...]) -> tuple[str | dict[str, Any], ...]:
        for config in configs:
            kind = config if isinstance(config, str) else config.get("kind")
            if kind == "accuracy":
                raise ConfigError("accuracy is measured by the stage `arms`", do="leave it out here")
            metrics.get(str(kind))
        return configs

    def run(self, context: StageContext) -> None:
        ledger = Ledger()
        missing = missing_arms(context)
        arms = self._read_arms(context, missing)
        prompts = [Condition(f"{side} prompts", side, tags={"study": "prompts"}) for side in SIDES]
        readings: list[MetricReading] = []
        for config in self.metrics:
            metric = metric_from_config(context.pair.base, config)
            if isinstance(metric, RolloutMetric):
                readings += [_read_rollouts(metric, condition, rollouts) for condition, rollouts in arms]
                for name, cause in missing.items():
                    if not self.arms or name in self.arms:
                        ledger.miss("metric", f"{metric.name} of {name}", cause=cause)
            else:
                readings += [self._read_prompts(context, config, condition) for condition in prompts]
        names = [(reading.condition.name, reading.metric) for reading in readings]
        if len(set(names)) < len(names):
            raise ConfigError("two metrics bear one name", do="leave one of them out")
        measured = [reading for reading in readings if reading.is_measured]
        for reading in readings:
            item = f"{reading.metric} of {reading.condition.name}"
            ledger.plan("metric", item)
            if not reading.is_measured:
                n = len(reading.values)
                cause = Cause(
                    "DataError", f"the metric has no value on any of {n} texts", do="choose another"
                )
                ledger.miss("metric", item, cause=cause)
        context.write_conditions(prompts)
        context.write_results([reading.rows() for reading in measured])
        if measured:
            context.write_table(pd.DataFrame([reading.summary() for reading in measured]), METRICS_FILE)
        context.write_ledger(ledger)

    def _read_arms(
        self, context: StageContext, missing: Mapping[str, Cause]
    ) -> list[tuple[Condition, Rollouts]]:
        """What the arms wrote, but those that are missing."""
        folder = context.of("arms")
        conditions = {values["name"]: Condition(**values) for values in read_json(folder / "conditions.json")}
        for name in self.arms:
            if name not in (*conditions, *missing):
                raise UnknownNameError("arm of this run", name, conditions)
        present = [name for name in self.arms or conditions if name in conditions]
        return [(conditions[name], Rollouts.load(folder / f"{name}.jsonl")) for name in present]

    def _read_prompts(
        self, context: StageContext, config: str | dict[str, Any], condition: Condition
    ) -> MetricReading:
        host = context.pair.base if condition.host == "base" else context.pair.thinking
        metric = metric_from_config(host, config)  # of this host: its tokenizer turns words into tokens
        if isinstance(metric, RolloutMetric):
            raise ConfigError(
                f"metric {metric.name!r} reads rollouts, and stands among those of prompts",
                do="name it among the metrics of rollouts",
            )
        problems = [problem.id for problem in context.problems]
        rows = pass_rows(host, host.prompt_ids(list(context.problems)))
        values = unedited_values(host, rows, range(len(rows)), metric, batch_rows=BATCH)
        return MetricReading(metric.name, metric.unit, condition, values.double().numpy(), problems)


def _read_rollouts(metric: RolloutMetric, condition: Condition, rollouts: Rollouts) -> MetricReading:
    values = np.asarray(metric.measure(rollouts), dtype=np.float64)
    problems = [rollout.problem.id for rollout in rollouts]
    return MetricReading(metric.name, metric.unit, condition, values, problems)
