"""Pairs by name: shipped configs, registered paths, and load_pair, which turns one into a ModelPair."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from reasonmech.arguments import check_path, describe
from reasonmech.door import checked
from reasonmech.errors import ConfigError, UnknownNameError
from reasonmech.hosts.adapter import adapter_at
from reasonmech.hosts.host import Host
from reasonmech.hosts.load import Placement, Source, load_host
from reasonmech.hosts.pair import ModelPair, accepted_kinds
from reasonmech.hosts.prompt import Prompt
from reasonmech.paths import config_dir, read_config
from reasonmech.registry import Registry, split_name
from reasonmech.settings import Settings

Role = Literal["base", "thinking"]
ROLES: tuple[Role, ...] = ("base", "thinking")
pair_paths: Registry[Path] = Registry("pair")


class PairConfig(Settings):
    """A file of `sae_configs/pairs`: which two models, and what is known about steering them.

    A model whose tokenizer is not to be taken from its own directory is a mapping in a file:
    `base: {model: DIR, tokenizer: DIR/tokenizer.json}`.
    """

    name: str = Field(description="name of the pair, the same as the file's")
    base: str = Field(description="directory, organism:NAME/base, or Hub name of the base model")
    thinking: str = Field(
        description="the same for its thinking sibling, or an adapter of the base (a directory or Hub name)"
    )
    tokenizer: dict[Role, str] = Field(
        default={}, description="role -> where its tokenizer is; without it the model's own directory"
    )
    prompts: dict[Role, Prompt] = Field(
        default={}, description="role -> how problems are put to it; without it the task's own prompts"
    )
    task: str | None = Field(default=None, description="task on which the pair is compared")
    steering_layer: int | None = Field(
        default=None, ge=0, description="layer whose output is steered in the base"
    )
    sae_layer: int | None = Field(
        default=None, ge=0, description="layer of the thinking model's sentence taxonomy"
    )
    n_categories: int | None = Field(default=None, ge=1, description="number of behaviours in that taxonomy")
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        default=None, description="of the weights, where the caller names none; without it that of the files"
    )
    accept: tuple[str, ...] = Field(default=(), description="kinds of tokenizer difference known and wanted")
    parameters: float | None = Field(default=None, gt=0, description="of either model, in billions")
    licence: str = Field(default="", description="of the weights, base and thinking model")
    note: str = Field(default="", description="what a user should know, such as public SAEs")
    source: str = Field(default="", description="where the numbers come from")

    @model_validator(mode="before")
    @classmethod
    def _split_roles(cls, raw: Any) -> Any:
        """`base: {model: ..., tokenizer: ...}` as two entries."""
        if not isinstance(raw, Mapping):
            return raw
        split = {role: raw[role] for role in ROLES if isinstance(raw.get(role), Mapping)}
        if not split:
            return raw
        for role, parts in split.items():
            if "model" not in parts or set(parts) - {"model", "tokenizer"}:
                raise ValueError(f"{role} is {dict(parts)!r}: allowed are a path, or model and tokenizer")
        tokenizers = {role: parts["tokenizer"] for role, parts in split.items() if "tokenizer" in parts}
        if twice := sorted(tokenizers.keys() & raw.get("tokenizer", {}).keys()):
            raise ValueError(f"two tokenizers for {', '.join(twice)}")
        models = {role: parts["model"] for role, parts in split.items()}
        return {**raw, **models, "tokenizer": {**raw.get("tokenizer", {}), **tokenizers}}


@checked
def register_pair_path(name: str, path: str | Path) -> None:
    """Make `load_pair(name)` find a pair file, or a directory that holds `pair.yaml` or `base/` and
    `thinking/`.

    Raises:
        DuplicateNameError: the name is taken.
    """
    pair_paths.register(name)(Path(path))


def pair_names() -> list[str]:
    """Names that `load_pair` knows, shipped and registered."""
    return sorted({path.stem for path in (config_dir() / "pairs").glob("*.yaml")} | set(pair_paths.kinds()))


@checked
def pair_config(source: str | Path) -> PairConfig:
    """The config of a shipped or registered name, of a YAML file, or of a pair directory.

    Raises:
        UnknownNameError: none of these; the known names are listed.
        ConfigError: the file does not validate.
    """
    shipped = config_dir() / "pairs" / f"{source}.yaml"
    if isinstance(source, str) and source in pair_paths.kinds():
        path = pair_paths.get(source)
    elif isinstance(source, str) and "/" not in source and shipped.is_file():
        path = shipped
    else:
        path = Path(source).expanduser()
    if path.is_dir():
        if (path / "pair.yaml").is_file():
            path = path / "pair.yaml"
        elif (path / "base").is_dir() and (path / "thinking").is_dir():
            return PairConfig(name=path.name, base=str(path / "base"), thinking=str(path / "thinking"))
        else:
            raise ConfigError(
                f"{path} is no pair directory", allowed="pair.yaml, or base/ and thinking/, inside it"
            )
    if not path.is_file():
        raise UnknownNameError(
            "pair", str(source), pair_names(), do="or give a pair file, or base= and thinking="
        )
    config = read_config(path, PairConfig)
    tokenizers = {role: _beside(path, named) for role, named in config.tokenizer.items()}
    models = {"base": _beside(path, config.base), "thinking": _beside(path, config.thinking)}
    task = config.task if config.task is None else _task_beside(path, config.task)
    return config.model_copy(update=models | {"tokenizer": tokenizers, "task": task})


def _beside(file: Path, named: str) -> str:
    """What a pair file names, relative to the file where something is there; else as it is."""
    local = file.parent / named
    return str(local) if local.exists() else named


def _task_beside(file: Path, task: str) -> str:
    """A task of a file ("jsonl:q.jsonl?split=test"), relative to the pair's file where it is there."""
    kind, rest = split_name(task)
    named, mark, options = rest.partition("?")
    return f"{kind}:{_beside(file, named)}{mark}{options}" if named else task


def _half_a_pair(base: object, thinking: object) -> UnknownNameError:
    """The error where neither a name nor two models are given."""
    do = "give both base= and thinking=, or a pair by its name"
    for side, other, model in (("base", "thinking", base), ("thinking", "base", thinking)):
        if model is not None:
            named = str(model) if isinstance(model, str | Path) else describe(model)
            return UnknownNameError(
                f"{other} sibling of {side}=",
                named,
                pair_names(),
                do=f"{do} ({side}= then stands in for its own)",
            )
    return UnknownNameError("pair", "(nothing)", pair_names(), do=do)


@checked
def load_pair(
    source: str | Path | None = None,
    *,
    base: Host | Source | None = None,
    thinking: Host | Source | None = None,
    accept: Collection[str] = (),
    dtype: torch.dtype | None = None,
    device: Placement | None = None,
) -> ModelPair:
    """Load a base model and its thinking sibling, and check that they are siblings.

    Args:
        source: a shipped or registered name, a pair file or a pair directory; None with `base` and
            `thinking`.
        base, thinking: hosts, models or paths, in place of those that the config names. A thinking model
            that is an adapter is merged into the base (`load_host`).
        accept: kinds of difference that are known and wanted: padding, special_tokens, added_tokens,
            encoding.
        dtype, device: as in `load_host`, for the models that are loaded here. None: the dtype of the config,
            where it names one.

    Raises:
        UnknownNameError: no such pair; the known ones are listed.
        MismatchError: the models differ; every difference is spelt out.
    """
    if source is not None:
        check_path(
            source,
            name="source",
            allowed="a pair's name, file or directory",
            do="models in hand: rm.load_pair(base=..., thinking=...)",
        )
        config = pair_config(source)
    elif base is not None and thinking is not None:
        config = PairConfig(name="pair", base="", thinking="")
    else:
        raise _half_a_pair(base, thinking)
    if dtype is None and config.dtype is not None:
        dtype = getattr(torch, config.dtype)

    def load(side: Role, model: Host | Source | None, configured: str) -> Host:
        if isinstance(model, Host):
            return model
        name = f"{config.name}/{side}"
        source = configured if model is None else model  # of a model that was given, the tokenizer is its own
        tokenizer = config.tokenizer.get(side) if model is None else None
        adapter = adapter_at(source) if isinstance(source, str | Path) and side == "thinking" else None
        if adapter is None:
            return load_host(source, tokenizer=tokenizer, dtype=dtype, device=device, name=name)
        beneath = base_path if base_path is not None else first
        words = tokenizer or (None if adapter.has_tokenizer else first.tokenizer)
        return load_host(source, tokenizer=words, dtype=dtype, device=device, name=name, base=beneath)

    # of a path, an adapter is merged into what is read anew: two models, and no third one for a while
    base_path = config.base if base is None else base if isinstance(base, str | Path) else None
    first = load("base", base, config.base)
    pair = ModelPair(
        config.name,
        first,
        load("thinking", thinking, config.thinking),
        config.task,
        config.steering_layer,
        sae_layer=config.sae_layer,
        n_categories=config.n_categories,
        note=config.note,
        source=config.source,
        accept=(*config.accept, *accepted_kinds(accept)),
    )
    return pair.with_prompts(**config.prompts) if config.prompts else pair
