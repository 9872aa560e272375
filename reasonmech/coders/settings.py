"""Settings of a saved SAE: whatever decides its activations is there, of its type and in its range."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from packaging.version import Version
from safetensors import safe_open

from reasonmech.arguments import describe
from reasonmech.errors import CorruptFileError

NEEDED: Final = ("d_in", "d_sae", "dtype", "k", "residual_threshold")  # where the architecture has them
# What SAELens writes since a version; before, its default of now is what they were.
WRITTEN_SINCE: Final = {
    "apply_b_dec_to_input": Version("6.0.0"),
    "normalize_activations": Version("6.0.0"),
    "rescale_acts_by_decoder_norm": Version("6.54.12"),
}
# How files from before SAELens 6 write their activation: what else it was, SAELens passes over.
_ACTIVATIONS: Final = ("relu", "topk")
_TOLD_BY_TENSORS: Final = ("gated", "jumprelu", "matching_pursuit")  # no other has tensors of these names
_FLOATS: Final = ("F16", "BF16", "F32", "F64")
_ALLOWED: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a string",
}


def check_settings(config: Mapping[str, Any], config_class: type, *, file: str) -> None:
    """Hold the values of a cfg.json to the settings of its architecture.

    SAELens fills in what is missing (k becomes 100) and takes values as they are: a coder of another k, or of
    the k "4", loads, and its activations are another coder's.

    Args:
        config: as SAELens reads it, one key per setting.
        config_class: SAELens' dataclass of the architecture.

    Raises:
        CorruptFileError: a setting that decides the activations is missing, of another type, or out of range.
    """
    hints = get_type_hints(config_class)
    fields = [field.name for field in dataclasses.fields(config_class) if field.name != "metadata"]
    for name in fields:
        if name not in config:
            if name in NEEDED or _is_written(name, config["metadata"]):
                near = [key for key in config if key.casefold() == name]
                raise CorruptFileError(
                    f"{file} has no {name}" + (f", but {near[0]!r}" if near else ""),
                    allowed=f"{name}, as the SAE was trained",
                    do="copy it again; nobody but who trained it can tell",
                )
            continue
        kinds = _kinds(hints[name])
        if kinds and not any(_is(config[name], kind) for kind in kinds):
            allowed = " or ".join("null" if kind is type(None) else _ALLOWED[kind] for kind in kinds)
            raise CorruptFileError(
                f"{file} says {name} = {describe(config[name])}", allowed=allowed, do="copy it again"
            )
    _check_ranges({name: config[name] for name in fields if name in config}, file=file)


def _is_written(name: str, metadata: Mapping[str, Any]) -> bool:
    """Whether the version of SAELens that wrote a file writes this setting."""
    version = metadata.get("sae_lens_version")
    return name in WRITTEN_SINCE and version is not None and Version(version) >= WRITTEN_SINCE[name]


def check_leftovers(
    written: Mapping[str, Any], architecture: str, config_classes: Iterable[type], *, file: str
) -> None:
    """Hold a cfg.json to one architecture: a `standard` that has a k may be a TopK whose name was lost.

    Architectures that no other shares its tensors with may have what they were trained with, such as the k of
    a BatchTopK that became a JumpReLU.

    Args:
        written: as it stands in the file.
        config_classes: SAELens' dataclasses of all architectures.

    Raises:
        CorruptFileError: it has a setting of another architecture, or an activation that is not this one's.
    """
    mine = {
        name for class_ in config_classes if class_.architecture() == architecture for name in _names(class_)
    }
    others = {name for class_ in config_classes for name in _names(class_)} - mine
    told = architecture in _TOLD_BY_TENSORS
    left = (
        [] if told else [key for key in sorted(others & written.keys()) if written[key] not in (None, False)]
    )
    activation = written.get("activation_fn_str", written.get("activation_fn"))
    if activation is not None and (activation not in _ACTIVATIONS or (activation == "topk") != ("k" in mine)):
        left.append("activation_fn" if "activation_fn" in written else "activation_fn_str")
    if left:
        raise CorruptFileError(
            f"{file} says architecture {architecture!r} and {left[0]} = {describe(written[left[0]])}",
            allowed=f"settings of {architecture}: {', '.join(sorted(mine - {'metadata', 'device'}))}",
            do="copy it again; nobody but who trained it can tell which of the two it is",
        )


def _names(config_class: type) -> set[str]:
    return {field.name for field in dataclasses.fields(config_class)}


def check_tensors(file: Path, architecture: str, *, d_in: int, d_sae: int) -> None:
    """Hold the tensors that most architectures have to the sizes in cfg.json; which others there are is
    SAELens' to say.

    Raises:
        CorruptFileError: a shape is another, or a tensor holds no floating-point numbers.
    """
    shapes = {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    with safe_open(file, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - no mapping
            part = tensors.get_slice(name)
            shape, dtype = tuple(part.get_shape()), part.get_dtype()
            if dtype not in _FLOATS:
                raise CorruptFileError(
                    f"{name} of {file} has dtype {dtype}",
                    allowed=", ".join(_FLOATS),
                    do="save it in one of these",
                )
            if shape != shapes.get(name, shape):
                raise CorruptFileError(
                    f"{file.parent} holds no {architecture} SAE: {name} of {file.name} has shape {shape}, "
                    f"its settings say d_in = {d_in}, d_sae = {d_sae}",
                    allowed=str(shapes[name]),
                    do="copy it again, weights and settings from one place",
                )


def _check_ranges(settings: Mapping[str, Any], *, file: str) -> None:
    d_in, d_sae = settings["d_in"], settings["d_sae"]
    limits = {
        "d_in": (1, math.inf),
        "d_sae": (1, math.inf),
        "k": (1, d_sae),
        "max_iterations": (1, math.inf),
        "residual_threshold": (0, math.inf),
    }
    for name, (low, high) in limits.items():
        value = settings.get(name)
        if value is not None and not low <= value <= high:
            allowed = f"{low} .. {high}" if high < math.inf else f"{low} or more"
            raise CorruptFileError(
                f"{file} says {name} = {value}, of an SAE of {d_sae} features of width {d_in}",
                allowed=allowed,
                do="copy it again; nobody but who trained it can tell",
            )


def _kinds(hint: Any) -> tuple[type, ...]:
    """Plain types that a setting may have; none where it is something else."""
    if get_origin(hint) is Literal:  # one of a few names: which ones, SAELens says
        return (str,)
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return tuple(option for option in options if option in (*_ALLOWED, type(None)))


def _is(value: object, kind: type) -> bool:
    if kind is float:
        return type(value) in (int, float) and math.isfinite(float(str(value)))
    return type(value) is kind
