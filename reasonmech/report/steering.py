"""Steering files: a model, prompts and a plan in one YAML, for `reasonmech steer plan.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator
from rich.console import Group

from reasonmech.errors import ConfigError
from reasonmech.experiments.config import TaskSettings
from reasonmech.interventions import load_plan
from reasonmech.organisms import load_host
from reasonmech.paths import read_config
from reasonmech.problem import ProblemSet
from reasonmech.report.sidebyside import compare
from reasonmech.runtime import Decode
from reasonmech.settings import Settings


def _as_texts(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class SteeringFile(Settings):
    """What `reasonmech steer plan.yaml` reads."""

    model: str = Field(description="directory or hub name of a model, or organism:NAME/base")
    partner: str | None = Field(None, description="the other model of a pair, for gates that read it")
    prompts: Annotated[tuple[str, ...], BeforeValidator(_as_texts)] = Field((), description="texts to go on")
    task: TaskSettings | None = Field(None, description="problems of a task, in place of prompts")
    decode: Decode = Field(default_factory=Decode, description="how tokens are chosen")
    plan: tuple[Any, ...] = Field(min_length=1, description="interventions: load_plan reads them")

    @model_validator(mode="after")
    def _prompts_or_task(self) -> Self:
        if bool(self.prompts) == (self.task is not None):
            raise ValueError("give either prompts or a task")
        return self

    def problems(self) -> ProblemSet | tuple[str, ...]:
        """The prompts, or the problems of the task.

        Raises:
            UnknownNameError: no such task.
        """
        if self.task is None:
            return self.prompts
        return self.task.load()


def steer_from_file(path: Path) -> Group:
    """The answers of a steering file without its plan and under it, and the receipt, as rich renderables.

    Raises:
        ConfigError: the file does not validate; file and key are named. And what loading a model raises.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {path}", allowed="a YAML file with model, prompts and plan")
    file = read_config(path, SteeringFile)
    host = load_host(_beside(path, file.model))
    partner = None if file.partner is None else load_host(_beside(path, file.partner))
    plan = load_plan(path, host, partner=partner)
    return compare(host, file.problems(), plan, decode=file.decode, partner=partner)


def _beside(path: Path, model: str) -> str:
    """A model's directory relative to the file, where there is one; else the name as it is."""
    directory = path.parent / Path(model).expanduser()
    return str(directory) if directory.is_dir() else model
