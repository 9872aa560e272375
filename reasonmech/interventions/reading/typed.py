"""A value of a plan file as the annotation of a field says."""

from __future__ import annotations

import json
import types
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any, Union, get_args, get_origin

from jaxtyping import AbstractArray
from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
from torch import Tensor

from reasonmech.interventions.canonical import Json
from reasonmech.interventions.reading.readable import Readable
from reasonmech.interventions.reading.spot import Spot
from reasonmech.interventions.reading.tensors import read_tensor
from reasonmech.site import Site


def typed(value: Json, annotation: Any, spot: Spot) -> Any:
    """A value of a plan file for a field: YAML has lists where a class has tuples, and mappings for the rest.

    An axis, an edit, a mask or a gate is read by its kind, a tensor from its file, a site from its name;
    everything else is what JSON says it is, strictly: no number from a string.

    Raises:
        ConfigError: it is nothing that the annotation allows; file and place are named.
    """
    options = _options(annotation)
    if value is None and type(None) in options:
        return None
    for option in options:
        if isinstance(option, type) and issubclass(option, Readable):
            return option.from_plan(value, spot)
        if get_origin(option) is tuple and get_args(option)[1:] == (...,) and _nests(get_args(option)[0]):
            return _items(value, get_args(option)[0], spot)
    if Site in options:
        return _site(value, spot)
    numbers = [option for option in options if not _is_tensor(option)]
    if len(numbers) < len(options) and (not numbers or isinstance(value, list | dict)):
        return read_tensor(value, spot)
    return _plain(value, numbers, spot)


def _options(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; anything else alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _nests(annotation: Any) -> bool:
    return any(isinstance(one, type) and issubclass(one, Readable) for one in _options(annotation))


def _is_tensor(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Tensor | AbstractArray)


def _items(value: Json, annotation: Any, spot: Spot) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise spot.mistyped(value, allowed="a list")
    return tuple(typed(item, annotation, spot.inside(i)) for i, item in enumerate(value))


def _site(value: Json, spot: Spot) -> Site:
    if not isinstance(value, str):
        raise spot.mistyped(value, allowed="the name of a site, such as resid_post.2")
    with spot.located():
        return Site.parse(value)


def _plain(value: Json, options: Sequence[Any], spot: Spot) -> Any:
    """What pydantic makes of JSON in its strict mode, where a list may be a tuple, but "6" is no number.

    One thing where several are meant is one of them.
    """
    several = len(options) == 1 and get_args(options[0])[1:] == (...,)
    if several and not isinstance(value, list | dict):
        value = [value]
    annotation = reduce(or_, options)
    try:
        return TypeAdapter(annotation).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        allowed = "; or ".join(dict.fromkeys(problem["msg"] for problem in error.errors()))
        raise spot.mistyped(value, allowed=allowed) from error
    except TypeError as error:  # YAML has dates and sets, JSON has not
        raise spot.mistyped(value, allowed="numbers, strings, lists and mappings") from error
    except PydanticSchemaGenerationError as error:
        raise spot.error(
            f"a {annotation} cannot be written in a plan file",
            do="give the class a from_entry(entry) that says how it is",
        ) from error
