"""The configuration of an experiment: YAML in, one frozen object out, which is also what runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from reasonmech.arguments import as_sequence, check_path
from reasonmech.errors import ConfigError, ReasonmechError, UnknownNameError
from reasonmech.experiments.stages import Stage, build_stage, check_order
from reasonmech.experiments.stages.rollouts import WriteRollouts
from reasonmech.paths import config_dir
from reasonmech.problem import ProblemSet
from reasonmech.ranges import Seed
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.settings import Settings
from reasonmech.tasks import Split, load_task
from reasonmech.yaml_text import YamlText, parse_yaml, read_yaml

CONFIGS: Final = "the name of a shipped experiment, the path of a YAML file, or an Experiment"


class TaskSettings(Settings):
    """The evaluation problems: every arm of the experiment is scored on these."""

    kind: str = Field(description="registered task, or jsonl:PATH, gsm8k, reasoning_gym:NAME ...")
    n: int = Field(gt=0, description="how many problems")
    seed: Seed = Field(0, description="seed of the problems and of their environment")
    split: Split = Field("test", description="which of the task's disjoint splits")

    def load(self) -> ProblemSet:
        """The problems. Raises as `rm.load_task` does."""
        return load_task(self.kind, n=self.n, seed=self.seed, split=self.split)


class Experiment(Settings):
    """What a run does, from the pair to the arms."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="names the run directory")
    question: str = Field("", description="what the run is to answer, printed on its report")
    pair: str = Field(description="shipped pair, or path of a pair's YAML")
    task: TaskSettings
    decode: Decode = Field(default_factory=Decode, description="how every arm decodes")
    seed: Seed = Field(0, description="of everything random that is not a problem")
    stages: tuple[SerializeAsAny[Annotated[Stage, BeforeValidator(build_stage)]], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fitting_is_not_evaluation(self) -> Self:
        for stage in self.stages:
            if isinstance(stage, WriteRollouts) and (stage.split, stage.seed) == (
                self.task.split,
                self.task.seed,
            ):
                raise ConfigError(
                    f"fitting problems are the evaluation problems: split {stage.split!r}, seed {stage.seed}",
                    do="give the stage `rollouts` another split, such as train",
                )
        return self

    @model_validator(mode="after")
    def _arms_draw_from_whole_distributions(self) -> Self:
        steered = [stage.kind for stage in self.stages if stage.kind in ("arms", "nulls", "budget")]
        if steered and (self.decode.truncation.cuts or self.decode.repetition_penalty != 1):
            raise ConfigError(
                f"top_k, top_p, min_p or repetition_penalty of decode beside stage {steered[0]!r}",
                allowed="a temperature: a hybrid asks which token each model would write, of all of them",
                do="leave them out of decode",
            )
        return self

    def canonical(self) -> str:
        """JSON with every default filled in and keys sorted: equal text, equal run."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    def fingerprint(self) -> str:
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def load_experiment(source: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment from a YAML file, or from the shipped one of that name.

    Args:
        overrides: "a.b=3" each; list items are addressed by number or, for stages, by kind
            ("stages.study.n=8").

    Raises:
        ArgumentError: no name and no path; overrides that are no texts.
        UnknownNameError: no such file, and no shipped experiment of that name.
        ConfigError: the file or an override is no YAML (as `read_yaml`), an override names no key or is said
            twice, or the result does not validate; with file, line and key.
    """
    path = find_experiment(source)
    overrides = as_sequence(overrides, str, name="overrides", allowed='texts such as "task.n=100"')
    read = read_yaml(path)
    raw = read.value
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no mapping", allowed=", ".join(Experiment.model_fields))
    _apply_all(raw, overrides)
    try:
        experiment = Experiment.model_validate(raw)
        check_order(experiment.stages)
    except ValidationError as error:
        raise ConfigError(
            f"{path} does not validate:\n{_explain(error, read)}", do="correct these keys"
        ) from error
    except ReasonmechError as error:
        raise ConfigError(f"{path}: {error.happened}", allowed=error.allowed, do=error.do) from error
    return experiment


def shipped_experiments() -> dict[str, Path]:
    """Name -> file of the experiments that come with the package."""
    return {path.stem: path for path in sorted((config_dir() / "experiments").glob("*.yaml"))}


def find_experiment(source: str | Path) -> Path:
    """A path as it is, or the shipped experiment of that name.

    Raises:
        ArgumentError: neither a text nor a path.
        UnknownNameError: no such file or experiment; the shipped ones are listed.
    """
    path = Path(check_path(source, name="config", allowed=CONFIGS, do='rm.run("demo")'))
    if path.is_file():
        return path
    shipped = shipped_experiments()
    if str(source) not in shipped:
        raise UnknownNameError(
            "experiment", str(source), shipped, do="give one of these, or the path of a YAML file"
        )
    return shipped[str(source)]


def _apply_all(raw: dict[str, Any], overrides: Sequence[str]) -> None:
    keys = [override.partition("=")[0] for override in overrides]
    for override, key in zip(overrides, keys, strict=True):
        if keys.count(key) > 1:
            raise ConfigError(f"{key} is set {keys.count(key)} times", do="say what it is to be once")
        _apply(raw, override)


def _apply(raw: dict[str, Any], override: str) -> None:
    """Set one dotted key of the raw mapping; whether the key exists is the validation's business."""
    dotted, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"override {override!r} sets nothing", allowed="key.key=value")
    *parents, last = dotted.split(".")
    inner: Any = raw
    for part in parents:
        inner = _enter(inner, part, override)
    if not isinstance(inner, dict):
        raise ConfigError(f"override {override!r} names no mapping", do="address a key inside a mapping")
    inner[last] = parse_yaml(text, name=f"override {override!r}").value


def _enter(outer: Any, part: str, override: str) -> Any:
    """What a key of a mapping holds, or the item of a list with that number or kind."""
    if isinstance(outer, dict):
        return outer.setdefault(part, {})
    if isinstance(outer, list):
        items = {str(i): item for i, item in enumerate(outer)}
        items |= {item["kind"]: item for item in outer if isinstance(item, dict) and "kind" in item}
        if part in items:
            return items[part]
        raise ConfigError(f"override {override!r} names no item {part!r}", allowed=", ".join(items))
    raise ConfigError(f"override {override!r} goes below the value {outer!r}")


def _explain(error: ValidationError, read: YamlText) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        where = read.line_of(problem["loc"])
        lines.append(f"    {key or '(top)'}: {problem['msg']} (given {problem['input']!r:.80}){where}")
    return "\n".join(lines)
