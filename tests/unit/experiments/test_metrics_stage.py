"""Metrics that a configuration names: of what arms wrote, and of what both models would say next."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reasonmech.errors import ConfigError, UnknownNameError
from reasonmech.experiments import Condition, StageContext
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.metrics import MeasureMetrics
from reasonmech.hosts import ModelPair
from reasonmech.metrics import metric_from_config, metrics
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime import Decode, forward, generate
from reasonmech.testing import tiny_pair

PROBLEMS = ProblemSet([Problem(f"p{i}", f"w{i} w{i + 1}", "w3") for i in range(4)], task="chain")
DIFF = {"kind": "logit_diff", "good": "w1", "bad": "w2"}


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return tiny_pair()


class Length:
    name, unit = "length", "tokens"

    def measure(self, rollouts: Rollouts) -> np.ndarray:
        return np.array([float(len(r.ids)) if r.problem.id != "p0" else np.nan for r in rollouts])


@pytest.fixture(autouse=True)
def length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_entries", metrics._entries | {"length": Length})


@pytest.fixture
def context(tmp_path: Path, pair: ModelPair) -> StageContext:
    """After a stage `arms` of two arms."""
    arms, out = tmp_path / "arms", tmp_path / "out"
    arms.mkdir()
    out.mkdir()
    for name, n in (("base", 4), ("full", 8)):
        decode = Decode(max_new_tokens=n)
        generate(pair.base, PROBLEMS, decode=decode, progress=False).save(arms / f"{name}.jsonl")
    conditions = [Condition("base", "base"), Condition("full", "hybrid", "f", no_control="none")]
    (arms / "conditions.json").write_text(json.dumps([asdict(condition) for condition in conditions]))
    return StageContext(pair, PROBLEMS, Decode(), 0, out, False, {"arms": arms})


def run(context: StageContext, *configs: Any, **settings: Any) -> pd.DataFrame:
    MeasureMetrics.model_validate({"metrics": configs} | settings).run(context)
    return pd.read_parquet(context.open_run_folder() / "metrics.parquet").set_index(["metric", "condition"])


def test_a_metric_of_rollouts_reads_every_arm(context: StageContext) -> None:
    table = run(context, "length")
    full = Rollouts.load(context.of("arms") / "full.jsonl")
    expected = np.mean([len(rollout.ids) for rollout in full][1:])
    assert table.loc[("length", "full"), "value"] == pytest.approx(expected)
    assert table.loc[("length", "full"), "n"] == 3, "a rollout with nothing to measure counted"
    rows = pd.read_parquet(context.out / "results.parquet")
    assert set(rows[rows.problem == ""].metric) == {"length", "length.low", "length.high"}
    assert len(rows[(rows.metric == "length") & (rows.problem != "")]) == 8
    assert ("length", "base") not in run(context, "length", arms=("full",)).index


def test_a_metric_of_what_comes_next_reads_the_prompts_in_both_models(
    context: StageContext, pair: ModelPair
) -> None:
    table = run(context, DIFF)
    metric = metric_from_config(pair.base, DIFF)
    logits = forward(pair.base, [problem.prompt for problem in PROBLEMS]).logits
    w1, w2 = (pair.base.encode(word)[0] for word in ("w1", "w2"))
    expected = np.mean([float(rows[-1][w1] - rows[-1][w2]) for rows in logits])
    assert table.loc[(metric.name, "base prompts"), "value"] == pytest.approx(expected, abs=1e-5)
    assert table.loc[(metric.name, "thinking prompts"), "value"] != pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("configs", "error", "message"),
    [
        (["lenght"], UnknownNameError, "length"),
        ([{"good": "w1"}], UnknownNameError, "metric"),
        (["accuracy"], ConfigError, "measured by the stage `arms`"),
    ],
)
def test_a_metric_that_cannot_be_meant_is_refused_before_anything_runs(
    configs: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MeasureMetrics.model_validate({"metrics": configs})


def test_what_cannot_be_measured_is_said(context: StageContext) -> None:
    with pytest.raises(ConfigError, match="one name"):
        run(context, DIFF, DIFF)
    with pytest.raises(UnknownNameError, match="nope"):
        run(context, "length", arms=("nope",))
    with pytest.raises(UnknownNameError, match="gud"):
        run(context, {"kind": "logit_diff", "gud": "w1", "bad": "w2"})


def test_a_metric_without_a_value_is_missing(context: StageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing(Length):
        name = "nothing"

        def measure(self, rollouts: Rollouts) -> np.ndarray:
            return np.full(len(rollouts), np.nan)

    monkeypatch.setattr(metrics, "_entries", metrics._entries | {"nothing": Nothing})
    table = run(context, "length", "nothing")
    assert "nothing" not in table.index.get_level_values("metric")
    missing = {row["item"] for row in Ledger.read(context.out).missing()}
    assert missing == {"nothing of base", "nothing of full"}
    MeasureMetrics(metrics=("nothing",)).run(context)
    assert len(Ledger.read(context.out).missing()) == 2
