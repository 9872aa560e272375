"""JsonText: the one reader of JSON files, which refuses what another reader could understand otherwise."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from reasonmech.arguments import describe
from reasonmech.errors import CorruptFileError

DEEPEST: Final = 100
AGAIN: Final = "copy it again"


def parse_json(content: bytes | str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: no UTF-8 (a byte order mark may be in front) or no JSON; a key twice in one object, of
            which a reader would take the last; or nested more than 100 deep.
    """
    text = content if isinstance(content, str) else content.decode("utf-8-sig")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except RecursionError:
        value = None
        deep = True
    else:
        deep = text.count("[") + text.count("{") > DEEPEST and _is_deep(value)
    if deep:
        raise ValueError(f"nested more than {DEEPEST} deep")
    return value


def _integer(digits: str) -> int:
    """An integer that is a float, too: where a number is meant, either may stand."""
    value = int(digits)
    if len(digits) > 300 and not -sys.float_info.max <= value <= sys.float_info.max:
        raise ValueError(f"an integer of {len(digits)} digits")
    return value


def read_value(file: Path, *, do: str = AGAIN) -> Any:
    """What a JSON file says.

    Args:
        do: what to do where it says nothing, for the error.

    Raises:
        CorruptFileError: it cannot be read, or is no JSON, as `parse_json` has it.
    """
    try:
        return parse_json(file.read_bytes())
    except OSError as error:
        raise CorruptFileError(f"{file} cannot be read: {error.strerror}", do=do) from error
    except ValueError as error:
        raise CorruptFileError(f"{file} is not JSON: {error}", do=do) from error


def read_object(file: Path, shape: Mapping[str, Any] | None = None, *, do: str = AGAIN) -> dict[str, Any]:
    """A JSON file whose value is an object.

    Args:
        shape: of it, as `check_shape` has it; None: any object.

    Raises:
        CorruptFileError: as `read_value`; or it is no object, or of another shape, whose key is named.
    """
    value = read_value(file, do=do)
    if not isinstance(value, dict):
        raise CorruptFileError(f"{file} is no JSON object: {describe(value)}", allowed="{...}", do=do)
    try:
        check_shape(value, shape or {})
    except ValueError as error:
        raise CorruptFileError(f"{file} says {error}", allowed="what was written there", do=do) from error
    return value


def check_shape(value: Any, shape: Any, *, at: str = "") -> None:
    """Hold a JSON value to a shape, which is written as a value of that shape with types in place of numbers.

    Args:
        shape: a type, where float takes whole numbers too; several shapes in a tuple; [shape] of every
            element of a list; {key: shape} of an object, whose key "*" stands for all others, and "key?" for
            one that may be missing. Keys that it does not name may be there.
        at: dotted keys that lead to the value, for the error.

    Raises:
        ValueError: a value is missing or of another type; the first one is named.
    """
    alternatives = shape if isinstance(shape, tuple) else (shape,)
    fitting = [one for one in alternatives if type(value) in _kinds(one)]
    if not fitting:
        raise ValueError(f"{at or 'it'} = {describe(value)}")
    if isinstance(fitting[0], list):
        inner = fitting[0][0]
        if isinstance(inner, type) and {*map(type, value)} <= {*_kinds(inner)}:
            return  # numbers by the thousand, as they mostly are
        for i, element in enumerate(value):
            check_shape(element, inner, at=f"{at}[{i}]")
    elif isinstance(fitting[0], dict):
        _check_members(value, fitting[0], at)


def _kinds(shape: Any) -> tuple[type, ...]:
    kind = shape if isinstance(shape, type) else type(shape)
    return (float, int) if kind is float else (kind,)


def _check_members(value: Mapping[str, Any], shape: Mapping[str, Any], at: str) -> None:
    named = {key.removesuffix("?"): inner for key, inner in shape.items() if key != "*"}
    for key, inner in named.items():
        where = f"{at}.{key}" if at else key
        if key in value:
            check_shape(value[key], inner, at=where)
        elif key in shape:
            raise ValueError(f"no {where}")
    if "*" in shape:
        for key in value.keys() - named.keys():
            check_shape(value[key], shape["*"], at=f"{at}.{key}" if at else key)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {key!r} is there twice")
        values[key] = value
    return values


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
