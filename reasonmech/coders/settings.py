"""Settings of a saved SAE: whatever decides its activations is there, of its type and in its range."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from reasonmech.arguments import describe
from reasonmech.errors import CorruptFileError

NEEDED: Final = ("d_in", "d_sae", "k", "residual_threshold")  # where the architecture has them
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
            if name in NEEDED:
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
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return tuple(option for option in options if option in (*_ALLOWED, type(None)))


def _is(value: object, kind: type) -> bool:
    if kind is float:
        return type(value) in (int, float) and math.isfinite(float(str(value)))
    return type(value) is kind
