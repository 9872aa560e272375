"""checked: the door of a public function or class, where its plain arguments are held to its annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any, TypeVar, final, overload

from reasonmech.plain import Plain, kinds_of

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])


@overload
def checked(of: C) -> C: ...
@overload
def checked(of: F) -> F: ...
def checked(of: Any) -> Any:
    """A public function, or a class with its constructor, that looks at its plain arguments first.

    Held to its annotation is what is said to be an int, float, bool, str, path, one of a Literal, None,
    several of these, or a union of them, with the ranges of `ranges.py`: a whole number is no 3.0 and no
    True, and has 64 bits; a number is finite; a path has no NUL in it, and names that a disk can hold. A
    scalar of numpy or torch is taken as Python's. Classes and arrays are for the function itself to look at.

    Raises:
        ArgumentError: on a call, naming the parameter, the value and what is allowed.
        UnknownNameError: a text that is none of a Literal's.
    """
    if not isinstance(of, type):
        return _guarded(of)
    of.__init__ = _guarded(of.__init__)  # pyright: ignore[reportAttributeAccessIssue]
    return of


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    door = _Door(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if door.kinds:
            args, kwargs = door.admit(args, kwargs)
        return function(*args, **kwargs)

    return call


@final
class _Door:
    """What the plain parameters of a function take. Annotations are read at the first call: by then all names
    of a module are there.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._parameters = inspect.signature(function).parameters

    @cached_property
    def kinds(self) -> dict[str, Plain]:
        return kinds_of(self._function)

    @cached_property
    def _places(self) -> list[tuple[int, str, Plain, object]]:
        return [
            (i, name, self.kinds[name], parameter.default)
            for i, (name, parameter) in enumerate(self._parameters.items())
            if name in self.kinds
            and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]

    @cached_property
    def _rest(self) -> tuple[int, str] | None:
        for i, (name, parameter) in enumerate(self._parameters.items()):
            if parameter.kind is parameter.VAR_POSITIONAL and name in self.kinds:
                return i, name
        return None

    def admit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call, plain ones as Python's.

        Raises:
            ArgumentError, UnknownNameError: one is not of its kind.
        """
        taken = list(args)
        for i, name, kind, default in self._places:
            if i < len(args) and args[i] is not default:
                taken[i] = kind.admit(args[i], name)
        if self._rest is not None:
            first, name = self._rest
            taken[first:] = [self.kinds[name].admit(value, name) for value in args[first:]]
        for name, value in kwargs.items():
            if name in self.kinds and value is not self._parameters[name].default:
                kwargs[name] = self.kinds[name].admit(value, name)
        return tuple(taken), kwargs
