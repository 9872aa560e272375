"""Every shipped configuration validates, and comes with the wheel."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import pytest

from reasonmech.coders import load_coder_config
from reasonmech.experiments import load_experiment, shipped_experiments
from reasonmech.hosts import pair_config, pair_names
from reasonmech.interventions import load_plan
from reasonmech.organisms import load_host
from reasonmech.paths import config_dir, read_config
from reasonmech.report.steering import SteeringFile
from reasonmech.runtime import generate

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", sorted(shipped_experiments()))
def test_experiments_validate_and_are_named_after_their_file(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.name == name
    assert experiment.question, "a reader of the report wants to know what was asked"


@pytest.mark.parametrize("name", sorted(p.stem for p in (config_dir() / "coders").glob("*.yaml")))
def test_coders_validate(name: str) -> None:
    assert load_coder_config(name).steps > 0


@pytest.mark.parametrize("name", pair_names())
def test_pairs_validate(name: str) -> None:
    assert pair_config(name).name == name


@pytest.mark.parametrize("path", sorted((config_dir() / "plans").glob("*.yaml")), ids=lambda path: path.stem)
def test_plans_validate_and_change_what_is_written(path: Path) -> None:
    steering = read_config(path, SteeringFile)
    host, problems = load_host(steering.model), steering.problems()
    untouched, steered = (
        generate(host, problems, plan, decode=steering.decode, progress=False)
        for plan in ((), load_plan(path, host))
    )
    assert [rollout.ids for rollout in untouched] != [rollout.ids for rollout in steered]


def test_there_is_something_to_check() -> None:
    assert "demo" in shipped_experiments() and "tiny-when" in pair_names()


def test_the_wheel_holds_configs_weights_and_templates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hatchling.builders.wheel import WheelBuilder

    monkeypatch.setattr(zlib, "Z_DEFAULT_COMPRESSION", 0)  # how small its files are is not asked

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"reasonmech/_sae_configs/experiments/{name}.yaml" for name in shipped_experiments()} <= names
    assert "reasonmech/_sae_configs/pairs/tiny-when.yaml" in names
    assert "reasonmech/report/assets/report.html.j2" in names
    assert {
        f"reasonmech/organisms/weights/tiny-when/{side}/model.safetensors" for side in ("base", "thinking")
    } <= names
    assert not [name for name in names if name.startswith("tests/")]
