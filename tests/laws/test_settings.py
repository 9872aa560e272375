"""Every class of settings: strict and in three parts where it is called, with its line in a file."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import BaseModel

import reasonmech as rm
from reasonmech.errors import ArgumentError, ConfigError, ReasonmechError
from reasonmech.hosts.catalogue import PairConfig
from reasonmech.hybrid import VectorConfig
from reasonmech.paths import read_config
from reasonmech.report.steering import SteeringFile
from reasonmech.settings import Settings

WRONG: dict[type, list[Any]] = {
    int: [True, 3.7, 3.0, "3", "bogus", math.nan, 2**70, [3]],
    float: [True, "3", "bogus", math.nan, math.inf, [0.5]],
    bool: ["yes", "no", 1, 0.0],
    str: [3, True, None, ["a"], b"a"],
}
PLAIN = {cls: {"architecture": "topk", "d_sae": 16, "steps": 2} for cls in (rm.CoderConfig,)} | {
    PairConfig: {"name": "a", "base": "b", "thinking": "c"},
    SteeringFile: {"model": "m", "prompts": ("w1",), "plan": ({},)},
}


def classes(above: type[Settings] = Settings) -> Iterator[type[Settings]]:
    for cls in above.__subclasses__():
        if cls.__module__.startswith("reasonmech.") and not inspect.isabstract(cls):
            yield cls
        yield from classes(cls)


ALL = sorted(set(classes()), key=lambda cls: cls.__name__)


def wrong_settings() -> Iterator[Any]:
    for cls in ALL:
        for name, field in cls.model_fields.items():
            options = get_args(field.annotation) or (field.annotation,)
            for kind in {int, float, bool, str} & set(options):
                for value in WRONG[kind]:
                    if (value is None and type(None) in options) or len(set(options) - {kind, type(None)}):
                        continue
                    yield pytest.param(cls, name, value, id=f"{cls.__name__}-{name}-{value!r:.12}")


def test_every_class_that_pydantic_validates_is_one() -> None:
    strangers = {cls for cls in BaseModel.__subclasses__() if cls.__module__.startswith("reasonmech.")} - {
        Settings
    }
    assert strangers == set()
    assert {rm.Decode, rm.CoderConfig, VectorConfig, PairConfig, SteeringFile} <= set(ALL)
    assert len(list(wrong_settings())) > 300


@pytest.mark.parametrize(("cls", "name", "value"), list(wrong_settings()))
def test_a_wrong_setting_is_an_argument_error_of_three_parts(
    cls: type[Settings], name: str, value: Any
) -> None:
    with pytest.raises(ReasonmechError) as caught:
        cls(**PLAIN.get(cls, {}) | {name: value})
    assert name in caught.value.happened and caught.value.allowed
    assert isinstance(caught.value, ArgumentError)


@pytest.mark.parametrize(
    ("call", "happened"),
    [
        (lambda: rm.Decode(max_new_tokens=0), "max_new_tokens is the integer 0"),
        (lambda: rm.Decode(temperature=-0.1), "temperature is the number -0.1"),
        (lambda: rm.Decode(stop_tokens=(-1,)), "stop_tokens.0 is the integer -1"),
        (lambda: rm.Decode(stop_tokens=(2**70,)), "stop_tokens.0 is"),
        (lambda: rm.Decode(stop_tokens=(True,)), "stop_tokens.0 is the truth value True"),
        (lambda: rm.Decode(seed=-1), "seed is the integer -1"),
        (lambda: rm.Decode().model_copy(update={"seed": "1"}), "seed is the string '1'"),
        (lambda: rm.Decode().model_copy(update={"sed": 1}), "Decode has no setting 'sed'"),
        (lambda: rm.CoderConfig(architecture="topk", d_sae=4), "CoderConfig is given no steps"),  # pyright: ignore
        (lambda: VectorConfig(held_out=1.0), "held_out is the number 1.0"),
    ],
)
def test_what_is_wrong_is_named(call: Any, happened: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        call()
    assert happened in caught.value.happened and caught.value.do


def test_a_name_that_is_nearly_one_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"(?s)no setting 'max_tokens'.*write max_new_tokens"):
        rm.Decode(max_tokens=3)  # pyright: ignore[reportCallIssue]


def test_scalars_lists_and_ones_for_fractions_are_taken() -> None:
    decode = rm.Decode(max_new_tokens=np.int64(5), temperature=torch.tensor(1), stop_tokens=[3])  # pyright: ignore
    assert decode == rm.Decode(max_new_tokens=5, temperature=1.0, stop_tokens=(3,))
    assert isinstance(decode.temperature, float) and type(decode.max_new_tokens) is int
    changed = decode.model_copy(update={"seed": 4})
    assert changed.seed == 4 and changed.model_fields_set == decode.model_fields_set | {"seed"}


@pytest.mark.parametrize("written", ["lr: 1", "lr: 1e-3", "lr: 1.0e-3", "lr: 2E+1"])
def test_numbers_of_a_file_are_read_as_people_write_them(tmp_path: Path, written: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"architecture: topk\nd_sae: 4\nsteps: 2\n{written}\n")
    assert read_config(path, rm.CoderConfig).lr == float(written.split()[1])


@pytest.mark.parametrize("written", ["d_sae: '4'", "d_sae: true", "d_sae: 4.0", "d_sae: 0"])
def test_a_file_still_hears_its_line(tmp_path: Path, written: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"architecture: topk\nsteps: 2\n{written}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: d_sae: .*\(line 3\)"):
        read_config(path, rm.CoderConfig)


def test_a_nested_key_of_a_file_still_hears_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    task = "task:\n  kind: chain\n  n: 4.0\n"
    path.write_text(f"name: a\npair: tiny-when\n{task}stages:\n  - kind: rollouts\n    n: true\n")
    with pytest.raises(ConfigError, match=r"(?s)task\.n: .*\(line 5\).*stages\.0\.n: .*\(line 8\)"):
        rm.experiments.load_experiment(path)
