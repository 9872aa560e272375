"""A run on a pair that is in memory: what it is stands in the record, and another pair is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import yaml

import reasonmech as rm
from reasonmech.errors import OutputError
from reasonmech.experiments import Condition, Stage, StageContext, default_path, load_experiment
from reasonmech.experiments.stages import stages
from reasonmech.hosts import ModelPair
from reasonmech.testing import tiny_host, tiny_pair

STOPS: list[str] = []


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A configuration of one stage, which stops with an error while STOPS holds anything."""
    monkeypatch.setattr(stages, "_entries", dict(stages._entries))

    @stages.register("widths")
    class Widths(Stage):
        kind: Literal["widths"] = "widths"

        def run(self, context: StageContext) -> None:
            base = Condition("base", "base")
            context.write_conditions([base])
            context.write_results([base.rows("width", [context.pair.base.d_model], unit="numbers")])
            context.write_generations([])

    @stages.register("stops")
    class Stops(Stage):
        kind: Literal["stops"] = "stops"

        def run(self, context: StageContext) -> None:
            if STOPS:
                raise KeyboardInterrupt

    experiment = {
        "name": "trial",
        "pair": "tiny-when",
        "task": {"kind": "chain", "n": 2},
        "stages": [{"kind": "widths"}, {"kind": "stops"}],
    }
    monkeypatch.chdir(tmp_path)
    Path("trial.yaml").write_text(yaml.safe_dump(experiment))
    yield "trial.yaml"
    STOPS.clear()


def test_the_record_says_which_pair_was_in_hand(config: str) -> None:
    pair = tiny_pair()
    run = rm.run(config, pair=pair, out="out", progress=False)
    assert run.value("width", "base") == 32, "the pair of the configuration was read"
    recorded = run.record["pair"]
    assert recorded["in_hand"] is True and recorded["name"] == pair.name == run.config["pair"]
    assert recorded["base"]["weights_sha256"] == pair.base.weight_hash
    assert recorded["thinking"]["weights_sha256"] == pair.thinking.weight_hash
    assert rm.report(run).is_file()


def test_a_pair_that_was_loaded_by_name_is_not_in_hand(config: str) -> None:
    assert rm.run(config, out="out", progress=False).record["pair"]["in_hand"] is False


def test_an_interrupted_run_goes_on_with_its_pair_and_refuses_another(config: str) -> None:
    pair = tiny_pair()
    other = ModelPair(pair.name, tiny_host(seed=7), pair.thinking)
    STOPS.append("now")
    with pytest.raises(KeyboardInterrupt):
        rm.run(config, pair=pair, out="out", progress=False)
    STOPS.clear()
    for another in (other, None):
        with pytest.raises(OutputError, match="another run"):
            rm.run(config, pair=another, out="out", progress=False)
    stage = Path("out.partial/stages/widths/stamp.json")
    begun = stage.stat().st_mtime_ns
    STOPS.append("now")
    with pytest.raises(KeyboardInterrupt):
        rm.run(config, pair=pair, out="out", progress=False)
    assert stage.stat().st_mtime_ns == begun, "the finished stage was computed again"
    STOPS.clear()
    assert rm.run(config, pair=pair, out="out", progress=False).record["pair"]["name"] == pair.name


def test_every_pair_has_a_place_of_its_own(config: str) -> None:
    pair, experiment = tiny_pair(), load_experiment(config)
    other = ModelPair(pair.name, tiny_host(seed=7), pair.thinking)
    assert (
        len({default_path(experiment), default_path(experiment, pair), default_path(experiment, other)}) == 3
    )
    assert rm.run(config, pair=pair, progress=False).path != default_path(experiment)
