"""Arms that a configuration defines in place: their parts exist, and each has a control or says why not."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from reasonmech.errors import ConfigError
from reasonmech.experiments import load_experiment
from reasonmech.experiments.stages.arm_config import ArmConfig
from reasonmech.experiments.stages.hybrid_arms import RunArms
from reasonmech.hybrid import ORDER, AtRandom, Hybrid, Ingredients, Takeover, Vectors
from reasonmech.runtime import Decode, generate
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.testing import tiny_pair

COIN = {"name": "coin", "gate": {"kind": "random", "rate": 0.5}, "control_for": "full"}
CEILING = {"name": "ceiling", "executor": {"kind": "takeover"}, "no_control": "a ceiling"}


def load(tmp_path: Path, *arms: Any) -> RunArms:
    """The stage `arms` of a configuration on disk."""
    demo = yaml.safe_load((Path(__file__).parents[3] / "sae_configs/experiments/demo.yaml").read_text())
    demo["stages"] = [s | ({"arms": [*arms]} if s["kind"] == "arms" else {}) for s in demo["stages"]]
    demo["stages"] = [s for s in demo["stages"] if s["kind"] != "traces"]
    path = tmp_path / "trial.yaml"
    path.write_text(yaml.safe_dump(demo))
    (stage,) = (stage for stage in load_experiment(path).stages if isinstance(stage, RunArms))
    return stage


def test_arms_are_defined_beside_registered_ones(tmp_path: Path) -> None:
    stage = load(tmp_path, "base", "thinking", "full", COIN, CEILING)
    assert list(stage.resolved) == ["base", "thinking", "full", "coin", "ceiling"]
    assert stage.resolved["coin"].control_for == "full"
    assert stage.resolved["ceiling"].no_control == "a ceiling"
    assert isinstance(stage.arms[3], ArmConfig)


def test_an_arm_in_place_decodes_with_its_parts(tmp_path: Path) -> None:
    import torch

    pair = tiny_pair()
    kinds = OneWordKinds({"one": "w1", "two": "w2"}, pair.base.tokenizer)
    n = len(kinds.names)
    vectors = Vectors(pair.base, "resid_post.1", table=torch.randn(n, 32), trained=torch.ones(n, dtype=bool))
    ingredients = Ingredients(pair, kinds, vectors, None, rate=0.0, seed=0)  # pyright: ignore[reportArgumentType]
    stage = load(tmp_path, "base", "thinking", "full", COIN, CEILING)
    coin, ceiling = (stage.resolved[name].decoder(ingredients) for name in ("coin", "ceiling"))
    assert isinstance(coin, Hybrid) and coin.gate == AtRandom(0.5, 0)
    assert isinstance(ceiling, Hybrid) and isinstance(ceiling.executor, Takeover)
    rollouts = generate(coin, ["w1 w2 w3"], decode=Decode(max_new_tokens=16), progress=False)
    assert 0 < sum(rollouts[0].steered) < 16


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"name": "x", "gate": {"kind": "randm"}, "no_control": "r"}, "randm"),
        ({"name": "x", "gate": {"rate": 0.5}, "no_control": "r"}, "names no kind"),
        ({"name": "x", "gate": {"kind": "random", "rat": 0.5}, "no_control": "r"}, "rat"),
        ({"name": "x", "gate": {"kind": "random", "rate": "often"}, "no_control": "r"}, "rate"),
        ({"name": "x", "gates": {"kind": "random"}, "no_control": "r"}, "gates"),
        ({"name": "x", "gate": "random", "no_control": "r"}, "gate"),
        ({"name": "full", "no_control": "r"}, "two arms are called 'full'"),
        ({"name": "../x", "no_control": "r"}, "name"),
        ({"name": "x"}, "arm 'x' runs without a control"),
        ({"name": "x", "control_for": "clamp"}, "'x' is a null of 'clamp', which is not run"),
        ({"name": "x", "control_for": "full", "no_control": "r"}, "gives a reason for having none"),
    ],
)
def test_what_is_wrong_with_an_arm_is_named(tmp_path: Path, arm: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, "base", "thinking", "full", COIN, arm)
    assert str(tmp_path / "trial.yaml") in str(caught.value)


def test_a_null_in_place_is_a_control_of_the_registered_arm(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'full' runs without a control"):
        load(tmp_path, "base", "thinking", "full")
    load(tmp_path, "base", "thinking", "full", COIN)


def test_a_rate_matched_to_full_needs_full(tmp_path: Path) -> None:
    arm = {"name": "x", "gate": {"kind": "random"}, "no_control": "r"}
    with pytest.raises(ConfigError, match="opens as often as `full`"):
        load(tmp_path, "base", "thinking", arm)


def test_configurations_that_name_arms_resolve_to_the_same_text() -> None:
    stage = RunArms()
    assert stage.model_dump(mode="json")["arms"] == list(ORDER)
    demo = load_experiment("demo")
    assert hashlib.sha256(demo.canonical().encode()).hexdigest() == demo.fingerprint()
