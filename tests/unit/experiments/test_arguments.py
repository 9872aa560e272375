"""What a run, its report and its files are given by mistake is named, with what was meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import ArgumentError, ConfigError
from reasonmech.experiments import load_experiment
from reasonmech.testing import tiny_pair
from tests.made_run import make_run


def refusal(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """What the three-part error says."""
    with pytest.raises(ArgumentError) as caught:
        call(*arguments, **options)
    assert caught.value.allowed, "the error does not say what is allowed"
    return str(caught.value)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (5, "the integer 5"),
        (["demo"], "a list of 1"),
        ({"name": "x"}, "a dict of 1"),
        (torch.zeros(2), "a Tensor of shape (2,)"),
        (lambda: "demo", "the function <lambda>"),
        (None, "None"),
    ],
)
def test_a_configuration_of_the_wrong_type_is_refused(config: Any, named: str) -> None:
    message = refusal(rm.run, config)
    assert f"config is {named}" in message and 'rm.run("demo")' in message


def test_a_pair_in_place_of_the_configuration_is_refused_with_the_right_call() -> None:
    message = refusal(rm.run, tiny_pair())
    assert "config is a ModelPair" in message and "pair=pair" in message


@pytest.mark.parametrize("pair", ["tiny-when", 5, [tiny_pair]])
def test_what_is_no_pair_is_refused(pair: Any) -> None:
    assert "rm.load_pair" in refusal(rm.run, "demo", pair=pair)


def test_the_other_options_of_a_run_are_checked(tmp_path: Path) -> None:
    assert "out is the integer 5" in refusal(rm.run, "demo", out=5)
    assert "overrides[0] is the integer 5" in refusal(rm.run, "demo", overrides=[5])
    assert "a dict of 1" in refusal(rm.run, "demo", overrides={"seed": 1})


def test_one_override_is_one_not_its_characters() -> None:
    assert load_experiment("demo", "seed=3").seed == 3


def test_overrides_of_an_experiment_that_is_validated_already_are_refused() -> None:
    with pytest.raises(ConfigError, match="overrides"):
        rm.run(load_experiment("demo"), overrides=["seed=3"])


@pytest.mark.parametrize("path", [5, None, ["runs/x"], torch.zeros(2)])
def test_a_run_is_loaded_from_a_path(path: Any) -> None:
    assert "path is " in refusal(rm.experiments.load_run, path)


def test_a_run_in_place_of_its_path_is_refused_where_it_is_loaded(tmp_path: Path) -> None:
    assert "a Run" in refusal(rm.experiments.load_run, make_run(tmp_path / "made"))


@pytest.mark.parametrize("run", [5, None, ["runs/x"], torch.zeros(2)])
def test_a_report_is_of_a_run(run: Any) -> None:
    message = refusal(rm.report, run)
    assert "run is " in message and "rm.report(" in message


def test_a_report_is_not_of_a_configuration(tmp_path: Path) -> None:
    assert "an Experiment" in refusal(rm.report, load_experiment("demo"))
    assert "out is the integer 5" in refusal(rm.report, make_run(tmp_path / "made"), out=5)
