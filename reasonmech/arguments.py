"""Arguments: what a public function checks of the values that it is given, before anything runs."""

from __future__ import annotations

import math
import operator
import os
import types
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import (
    Any,
    Final,
    ParamSpec,
    Protocol,
    SupportsIndex,
    TypeGuard,
    TypeVar,
    runtime_checkable,
)

from reasonmech.errors import ArgumentError, UnknownNameError

T = TypeVar("T")
P = ParamSpec("P")


@runtime_checkable
class _Shaped(Protocol):
    """A tensor or an array, whoever made it: this module imports neither."""

    @property
    def shape(self) -> tuple[int, ...]: ...


@runtime_checkable
class _Scalar(_Shaped, Protocol):
    """One number of numpy's or torch's."""

    def item(self) -> Any: ...


_PLAIN: Final = {str: "string", bool: "truth value", int: "integer", float: "number"}
_LONGEST: Final = 40
LONGEST_PART: Final = 255  # bytes of one name in a path, and of a whole path: what disks take
LONGEST_PATH: Final = 4096


def describe(value: object) -> str:
    """A value in a few words: "a Tensor of shape (64,)", "the string 'w1'", "the function <lambda>"."""
    name = type(value).__name__
    article = "an" if name[:1] in "AEIOUaeiou" else "a"
    if value is None:
        return "None"
    if type(value) in _PLAIN:
        shown = repr(value)
        return f"the {_PLAIN[type(value)]} {shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '...'}"
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.MethodType):
        return f"the function {value.__name__}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, _Shaped):
        return f"{article} {name} of shape {tuple(value.shape)}"
    if isinstance(value, list | set | dict) or type(value) is tuple:  # a named tuple is one value
        return f"{article} {name} of {len(value)}"
    return f"{article} {name}"


def as_plain(value: object) -> object:
    """A scalar of numpy's or torch's as Python's; anything else as it is."""
    if type(value) in _PLAIN or isinstance(value, list | tuple | dict) or not isinstance(value, _Scalar):
        return value
    return value.item() if value.shape == () else value


def check_type(
    value: object, expected: type[T] | tuple[type[T], ...], *, name: str, allowed: str, do: str = ""
) -> T:
    """`value`, if it is an instance of what is expected.

    Args:
        name: of the parameter, as the caller knows it ("axis", "metric").
        allowed: what it may be, in words.
        do: what the caller most likely wanted, with the right code.

    Raises:
        ArgumentError: it is something else.
    """
    if not isinstance(value, expected):
        raise ArgumentError(f"{name} is {describe(value)}", allowed=allowed, do=do)
    return value


def check_path(value: object, *, name: str, allowed: str, do: str = "") -> str | Path:
    """`value`, if it is a text or a path that a disk can hold.

    Raises:
        ArgumentError: it is something else.
    """
    path = check_type(value, (str, Path), name=name, allowed=allowed, do=do)
    check_path_text(os.fspath(path), name=name)
    return path


def check_path_text(path: str | bytes, *, name: str) -> None:
    """Raise ArgumentError for a path that no disk can hold: NUL or half a character in it, or too long."""
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        raw = b"\0"
    if b"\0" in raw or len(raw) >= LONGEST_PATH or max(map(len, raw.split(b"/"))) > LONGEST_PART:
        raise ArgumentError(
            f"{name} is {describe(path)}, which no disk can hold",
            allowed=f"a path without NUL, of less than {LONGEST_PATH} bytes, of {LONGEST_PART} a name",
            do="give the file or folder a shorter name, of signs that can be printed",
        )


def is_iterable(value: object) -> TypeGuard[Iterable[object]]:
    """Whether it can be gone through: an array of no dimension has the method, and refuses."""
    if not isinstance(value, Iterable):
        return False
    try:
        iter(value)
    except TypeError:
        return False
    return True


def check_whole(value: object, *, name: str, allowed: str = "a whole number", do: str = "") -> int:
    """`value`, if it is a whole number: an int, or what numpy and torch have for one.

    A truth value, 3.0 and "3" are none. Its range is for the caller to check.

    Raises:
        ArgumentError: it is something else.
    """
    if isinstance(value, SupportsIndex) and not _is_truth_value(value):
        try:
            return operator.index(value)
        except TypeError:  # a tensor of several numbers, or of fractions, has the method, and refuses
            pass
    raise ArgumentError(f"{name} is {describe(value)}", allowed=allowed, do=do)


def check_real(value: object, *, name: str, allowed: str = "a number", do: str = "") -> float:
    """`value`, if it is a number of Python's, numpy's or torch's, and no truth value.

    Its range, and whether it is finite, are for the caller to check.

    Raises:
        ArgumentError: it is something else.
    """
    plain = as_plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise ArgumentError(f"{name} is {describe(value)}", allowed=allowed, do=do)
    return plain


def _is_truth_value(value: object) -> bool:
    """Whether it says True or False; a tensor that does has an index, 1 or 0."""
    plain = value.item() if isinstance(value, _Scalar) and math.prod(value.shape) == 1 else value
    return isinstance(plain, bool)


def as_sequence(
    value: T | Sequence[T], one: type[T] | tuple[type[T], ...], *, name: str, allowed: str
) -> Sequence[T]:
    """Many things: a sequence as it is, and one thing as a sequence of it.

    One text where texts are meant is one text, never its characters.

    Args:
        one: type of an element.
        name, allowed: as in `check_type`.

    Raises:
        ArgumentError: neither an element nor a sequence of elements.
    """
    if isinstance(value, one):
        return [value]
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ArgumentError(
            f"{name} is {describe(value)}", allowed=allowed, do="give one, or a list of them (list(...))"
        )
    for i, element in enumerate(value):
        if not isinstance(element, one):
            raise ArgumentError(f"{name}[{i}] is {describe(element)}", allowed=allowed)
    return value


def check_choice(value: object, choices: Collection[T], *, name: str) -> T:
    """One of a few names. Raises UnknownNameError, which lists them, or ArgumentError for what is no name."""
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    if not isinstance(value, str):
        raise ArgumentError(f"{name} is {describe(value)}", allowed=", ".join(map(repr, choices)))
    raise UnknownNameError(name, value, [str(choice) for choice in choices])
