"""Configurations: closed, overridable, and refused with the file and the key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from reasonmech.errors import ConfigError, UnknownNameError
from reasonmech.experiments import Condition, Stage, load_experiment
from reasonmech.experiments.stages import stages

MINIMAL = {
    "name": "trial",
    "pair": "tiny-when",
    "task": {"kind": "chain", "n": 4},
    "stages": [{"kind": "noop"}],
}


@pytest.fixture(autouse=True)
def noop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_entries", dict(stages._entries))

    @stages.register("noop")
    class Noop(Stage):
        n: int = 1

        def run(self, context: object) -> None: ...


def write(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump(MINIMAL | changes))
    return path


def test_defaults_are_filled_in_and_overrides_reach_stages(tmp_path: Path) -> None:
    path = write(tmp_path / "trial.yaml")
    plain, changed = load_experiment(path), load_experiment(path, ["stages.noop.n=5", "task.n=9", "seed=3"])
    assert (plain.stages[0].model_dump()["n"], plain.task.n, plain.seed) == (1, 4, 0)
    assert (changed.stages[0].model_dump()["n"], changed.task.n, changed.seed) == (5, 9, 3)
    assert plain.fingerprint() != changed.fingerprint()
    assert load_experiment(path).fingerprint() == plain.fingerprint()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"taks": 1}, "taks"),
        ({"task": {"kind": "chain", "n": 0}}, "task.n"),
        ({"task": {"kind": "chain", "n": 4, "split": "tets"}}, "task.split"),
        ({"stages": []}, "stages"),
        ({"stages": [{"kind": "noop", "m": 1}]}, "m"),
        ({"name": "a/b"}, "name"),
    ],
)
def test_what_does_not_validate_names_file_and_key(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    path = write(tmp_path / "trial.yaml", **changes)
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    assert str(path) in str(caught.value) and named in str(caught.value)


def test_an_unknown_stage_lists_the_kinds(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown stage 'noob'") as caught:
        load_experiment(write(tmp_path / "trial.yaml", stages=[{"kind": "noob"}]))
    assert "noop" in str(caught.value)


def test_an_unknown_name_lists_the_shipped_experiments() -> None:
    with pytest.raises(UnknownNameError, match="unknown experiment 'dmeo'"):
        load_experiment("dmeo")


def test_what_is_no_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [1,")
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_experiment(tmp_path / "broken.yaml")


@pytest.mark.parametrize("override", ["seed", "stages.nope.n=1", "name.below=1"])
def test_an_override_that_sets_nothing_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="override"):
        load_experiment(write(tmp_path / "trial.yaml"), [override])


def test_a_condition_names_its_control_or_why_it_has_none() -> None:
    with pytest.raises(ConfigError, match="names no control"):
        Condition("clamp", "base", fingerprint="f")
    assert Condition("clamp", "base", fingerprint="f", no_control="a ceiling").no_control


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["stages.rollouts.split=test", "stages.rollouts.seed=0"],
            "fitting problems are the evaluation problems",
        ),
        (["stages.arms.arms=[base,thinking,random_vectors]"], "'random_vectors' is a null of 'full'"),
    ],
)
def test_what_would_make_a_result_worthless_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_experiment("demo", overrides)
