"""Plain: what an annotation of plain types takes: numbers, texts, paths, and several of them."""

from __future__ import annotations

import builtins
import inspect
import math
import os
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    final,
    get_args,
    get_origin,
)

from annotated_types import Ge, Gt, Le, Lt

from reasonmech.arguments import as_plain, check_choice, check_path_text, describe
from reasonmech.errors import ArgumentError
from reasonmech.ranges import MOST

Bound: TypeAlias = Ge | Gt | Le | Lt

_SIMPLE: Final = (bool, int, float, str, bytes, NoneType)
_WORDS: Final = {bool: "True or False", str: "a text", Path: "a path"}
_BUILT_IN: Final = (list, tuple, set, frozenset)  # a Site is a tuple, too
_MANY: Final = (Sequence, Collection, Set, tuple, list, set, frozenset)


@final
@dataclass(frozen=True)
class Plain:
    """What a plain annotation takes.

    Attributes:
        plain: plain types; Path where a text is a path.
        choices: of Literals.
        many: kind of the elements, where several are meant.
        others: whether classes or arrays are taken as well, which the function looks at in its own words.
        bounds: of numbers.
    """

    plain: frozenset[type] = frozenset()
    choices: tuple[object, ...] = ()
    many: Plain | None = None
    others: bool = False
    bounds: tuple[Bound, ...] = ()

    @cached_property
    def says_something(self) -> bool:
        """Whether it is about plain values at all; of what may be of a class, a path alone is looked at."""
        if self.others:
            return Path in self.plain
        inner = self.many is not None and self.many.says_something
        return bool(self.plain - {NoneType} or self.choices or inner)

    @cached_property
    def _at_once(self) -> frozenset[type]:
        """Types of which any value will do."""
        return self.plain & ({bool, NoneType} if Path in self.plain else {bool, str, NoneType})

    def admit(self, value: Any, name: str) -> Any:
        """The value, if it is of the kind; a scalar as Python's.

        Raises:
            ArgumentError: it is not. UnknownNameError: a text that is none of the choices.
        """
        if type(value) in self._at_once or (type(value) in (int, float) and self._is_number(value)):
            return value
        if self.others:
            if isinstance(value, str | os.PathLike):
                check_path_text(os.fspath(value), name=name)
            return value
        plain = as_plain(value)
        if isinstance(plain, os.PathLike) and Path in self.plain:
            check_path_text(os.fspath(plain), name=name)
            return plain if isinstance(plain, Path) else Path(os.fsdecode(plain))
        if not isinstance(plain, _SIMPLE):
            return self._admit_several(plain, name)
        if isinstance(plain, str) and self.plain & {str, Path}:
            if Path in self.plain:
                check_path_text(plain, name=name)
            return plain if str in self.plain else Path(plain)
        if type(plain) in self._at_once or self._is_number(plain):
            return plain
        if self.choices and (isinstance(plain, str) or plain in self.choices):
            return check_choice(plain, self.choices, name=name)
        raise self._error(plain, name)

    def _is_number(self, plain: Any) -> bool:
        if isinstance(plain, bool) or not isinstance(plain, int | float):
            return False
        if isinstance(plain, int):
            right = bool(self.plain & {int, float}) and -MOST <= plain < MOST
        else:
            right = float in self.plain and math.isfinite(plain)
        return right and (not self.bounds or all(_holds(bound, plain) for bound in self.bounds))

    def _admit_several(self, plain: Any, name: str) -> Any:
        if self.many is not None:
            if type(plain) in _BUILT_IN and not self.many.holds_for_all(plain):
                for i, element in enumerate(plain):
                    self.many.admit(element, f"{name}[{i}]")
            return plain
        raise self._error(plain, name)

    def holds_for_all(self, elements: Collection[Any]) -> bool:
        """Whether a quick look at thousands of them (ids of tokens) is enough."""
        kinds = set(map(type, elements))
        if kinds == {int}:
            return self._is_number(min(elements)) and self._is_number(max(elements))
        return Path not in self.plain and kinds <= self.plain & {str, bool}

    def _error(self, value: object, name: str) -> ArgumentError:
        return ArgumentError(
            f"{name} is {describe(value)}", allowed=self.words, do=f"give {self._meant(value, name)}"
        )

    def _meant(self, value: object, name: str) -> str:
        """What the caller most likely meant: 8 by "8" and by 8.0."""
        if isinstance(value, str | float) and self.plain & {int, float}:
            try:
                number = float(value)
                meant = int(number) if number.is_integer() else number
            except (ValueError, OverflowError):
                return f"{name} {self.words}"
            if self._is_number(meant):
                return f"{name}={meant}"
        return f"{name} {self.words}"

    @property
    def words(self) -> str:
        """What is allowed, in words."""
        words = [_WORDS[kind] for kind in (bool, str, Path) if kind in self.plain]
        if self.plain & {int, float}:
            bounds = " and ".join(_bound_words(bound) for bound in self.bounds if bound != Lt(MOST))
            words.append(f"a {'finite' if float in self.plain else 'whole'} number {bounds}".strip())
        words += [repr(choice) for choice in self.choices]
        words += [f"several, each {self.many.words}"] if self.many is not None else []
        return " or ".join(words + (["None"] if NoneType in self.plain else []))


class _Open(type):
    """The type of what may be anything, with attributes and parameters or without."""

    def __getattr__(cls, name: str) -> type[_Anything]:
        return _Anything

    def __getitem__(cls, parameters: object) -> type[_Anything]:
        return _Anything


class _Anything(metaclass=_Open):
    """What only type checkers import."""


class _Names(dict[str, Any]):
    """What names mean in a module."""

    def __missing__(self, name: str) -> Any:
        return vars(builtins).get(name, _Anything)


def kinds_of(function: Callable[..., object]) -> dict[str, Plain]:
    """Parameter -> what its annotation takes; without those that are of a class only, or of anything."""
    known = _Names(inspect.unwrap(function).__globals__)
    annotations = inspect.get_annotations(function, globals={}, locals=known, eval_str=True)
    kinds = {name: _read(annotations.get(name, Any)) for name in inspect.signature(function).parameters}
    return {name: kind for name, kind in kinds.items() if kind is not None and kind.says_something}


def _read(annotation: Any) -> Plain | None:
    """The kind of an evaluated annotation; None: anything will do."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation in (bool, int, float, str, Path, NoneType):
        return Plain(frozenset({annotation}))
    if annotation is None:
        return Plain(frozenset({NoneType}))
    if os.PathLike in (annotation, origin):
        return Plain(frozenset({Path}))
    if origin is Literal:
        return Plain(choices=parts)
    if origin is Annotated:
        inner = _read(parts[0])
        bounds = tuple(part for part in parts[1:] if isinstance(part, Bound))
        return inner if inner is None else replace(inner, bounds=bounds)
    if origin in (Union, UnionType):
        return _united([_read(part) for part in parts])
    if origin in _MANY and len({part for part in parts if part is not ...}) == 1:
        inner = _read(parts[0])
        if inner is not None and inner.says_something:
            return Plain(many=inner)
    if annotation in (Any, object, complex, _Anything) or isinstance(annotation, TypeVar):
        return None
    return Plain(others=True)


def _united(kinds: Sequence[Plain | None]) -> Plain | None:
    known = [kind for kind in kinds if kind is not None]
    if len(known) < len(kinds):
        return None
    several = [kind.many for kind in known if kind.many is not None]
    return Plain(
        frozenset[type]().union(*(kind.plain for kind in known)),
        tuple(choice for kind in known for choice in kind.choices),
        _united(several) if several else None,
        any(kind.others for kind in known),
        tuple(bound for kind in known for bound in kind.bounds),
    )


def _holds(bound: Bound, value: Any) -> bool:
    match bound:
        case Ge(limit):
            return value >= limit
        case Gt(limit):
            return value > limit
        case Le(limit):
            return value <= limit
        case Lt(limit):
            return value < limit


def _bound_words(bound: Bound) -> str:
    match bound:
        case Ge(limit):
            return f"of at least {limit}"
        case Gt(limit):
            return f"above {limit}"
        case Le(limit):
            return f"of at most {limit}"
        case Lt(limit):
            return f"below {limit}"
