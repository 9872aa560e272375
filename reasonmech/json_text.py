"""JsonText: the one reader of JSON files, which refuses what another reader could understand otherwise."""

from __future__ import annotations

import json
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
        value = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        value = None
        deep = True
    else:
        deep = text.count("[") + text.count("{") > DEEPEST and _is_deep(value)
    if deep:
        raise ValueError(f"nested more than {DEEPEST} deep")
    return value


def read_json(file: Path, *, do: str = AGAIN) -> Any:
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
        raise CorruptFileError(f"{file} is not JSON: {error}", allowed="JSON in UTF-8", do=do) from error


def read_object(file: Path, *, do: str = AGAIN) -> dict[str, Any]:
    """A JSON file whose value is an object. Raises CorruptFileError as `read_json`, or where it is none."""
    value = read_json(file, do=do)
    if not isinstance(value, dict):
        raise CorruptFileError(f"{file} is no JSON object: {describe(value)}", allowed="{...}", do=do)
    return value


def member(values: Mapping[str, Any], key: str, kind: type | tuple[type, ...], *, within: str = "") -> Any:
    """A value of a JSON object, if it is there and of its type; True is no number.

    Args:
        kind: types that it may have.
        within: dotted keys that lead to the object, for the error.

    Raises:
        ValueError: it is missing, or of another type; named by its key.
    """
    at = f"{within}.{key}" if within else key
    if key not in values:
        raise ValueError(f"no {at}")
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(values[key]) not in kinds:
        raise ValueError(f"{at} = {describe(values[key])}")
    return values[key]


def members(values: Mapping[str, Any], key: str, kind: type, *, within: str = "") -> list[Any]:
    """A list of a JSON object whose elements are all of one type. Raises ValueError as `member`."""
    listed = member(values, key, list, within=within)
    for i, element in enumerate(listed):
        if type(element) is not kind:
            raise ValueError(f"{within + '.' if within else ''}{key}[{i}] = {describe(element)}")
    return listed


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
