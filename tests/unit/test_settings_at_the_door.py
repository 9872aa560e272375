"""Plain settings of public functions are held to their annotations before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reasonmech as rm
from reasonmech.door import checked
from reasonmech.errors import ReasonmechError
from reasonmech.plain import Plain, kinds_of

WRONG: dict[str, list[Any]] = {
    "int": [True, 3.7, 3.0, "3", "bogus", float("nan"), float("inf"), [3], np.float64(3.5), torch.ones(2)],
    "float": [True, "3", "bogus", float("nan"), float("-inf"), [3.0], np.float32("nan"), torch.ones(2)],
    "bool": ["yes", 1, 0.0, [True]],
}


@checked
def settings(n: int, share: float, *, on: bool = False, seed: int | None = None) -> tuple[object, ...]:
    return n, share, on, seed


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in rm._HOME:
        yield f"rm.{name}", getattr(rm, name)
    for space in rm._NAMESPACES:
        module = getattr(rm, space)
        for name in getattr(module, "__all__", ()):
            yield f"rm.{space}.{name}", getattr(module, name)


def wrong_values(kind: Plain) -> list[Any]:
    """What is in no parameter of that kind, from what is wrong for its plain types."""
    if not kind.plain & {int, float, bool} or kind.many or kind.others:
        return [] if not kind.choices or kind.plain - {type(None)} else ["bogus", 3, True, ["a"]]
    wrong = list(WRONG[next(one.__name__ for one in (float, int, bool) if one in kind.plain)])
    wrong = [] if kind.choices or (bool in kind.plain and kind.plain & {int, float}) else wrong
    return wrong + ([] if type(None) in kind.plain else [None])


def cases() -> list[Any]:
    listed: list[Any] = []
    seen = set[Any]()
    for name, function in public_functions():
        if not inspect.isfunction(function) or function.__code__ is not settings.__code__ or function in seen:
            continue
        seen.add(function)
        for parameter, kind in kinds_of(function).items():
            listed += [
                pytest.param(function, parameter, value, id=f"{name}-{parameter}-{value!r:.20}")
                for value in wrong_values(kind)
            ]
    return listed


def valid(kind: Plain) -> object:
    """Some value of a kind."""
    for one, value in ((int, 1), (float, 0.5), (str, "a"), (bool, True), (Path, Path("a"))):
        if one in kind.plain:
            return value
    return kind.choices[0] if kind.choices else []


@pytest.mark.parametrize(("function", "name", "value"), cases())
def test_a_wrong_setting_is_an_error_that_names_it(
    function: Callable[..., Any], name: str, value: Any
) -> None:
    kinds = kinds_of(function)
    others = {
        p.name: valid(kinds[p.name]) if p.name in kinds else None
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind is not p.VAR_POSITIONAL and p.name != name
    }
    with pytest.raises(ReasonmechError, match=name):
        function(**others, **{name: value})


def test_there_are_many() -> None:
    assert len(cases()) > 200


def test_scalars_of_numpy_and_torch_are_taken_as_pythons() -> None:
    for n in (3, np.int64(3), np.uint8(3), torch.tensor(3), np.array(3)):
        for share in (0.5, np.float32(0.5), torch.tensor(0.5), np.float64(0.5)):
            got = settings(n, share, on=np.True_, seed=None)  # type: ignore[arg-type]
            assert got == (3, 0.5, True, None)
            assert [type(one) for one in got] == [int, float, bool, type(None)]
    assert settings(3, 2) == (3, 2, False, None)
    with pytest.raises(TypeError, match="missing"):
        settings(3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected"):
        settings(3, 0.5, of=1)  # type: ignore[call-arg]
