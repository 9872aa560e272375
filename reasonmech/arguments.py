"""Arguments: what a public function checks of the values that it is given, before anything runs."""

from __future__ import annotations

import inspect
import math
import operator
import types
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import (
    Any,
    Final,
    Literal,
    ParamSpec,
    Protocol,
    SupportsIndex,
    TypeVar,
    get_args,
    get_origin,
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
    if isinstance(value, list | tuple | set | dict):
        return f"{article} {name} of {len(value)}"
    return f"{article} {name}"


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
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ArgumentError(
            f"{name} is {describe(value)}", allowed=allowed, do="give one, or a list of them (list(...))"
        )
    for i, element in enumerate(value):
        if not isinstance(element, one):
            raise ArgumentError(f"{name}[{i}] is {describe(element)}", allowed=allowed)
    return value


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """A public function whose plain settings are looked at before it does anything.

    What is annotated as int, float, bool, or a Literal is held to that, None where the annotation has it: a
    whole number is no 3.0 and no True, a number is finite, a name is one of those there are. Scalars of numpy
    and torch are taken, as Python's. What range a number must be in is the function's own to say.

    Raises:
        ArgumentError: on a call, naming the parameter, the value and what is allowed.
    """
    signature = inspect.signature(function)
    kinds = {
        name: kind
        for name, parameter in signature.parameters.items()
        if (kind := _kind_of(function, str(parameter.annotation))) is not None
    }

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            bound = signature.bind_partial(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python's own message on a name that is not there
        for name, value in bound.arguments.items():
            if name in kinds and value is not signature.parameters[name].default:
                bound.arguments[name] = _plain(value, kinds[name], name)
        return function(*bound.args, **bound.kwargs)

    return call


def _kind_of(function: Callable[..., object], annotation: str) -> tuple[object, bool] | None:
    """What an annotation asks for, and whether None will do; None for anything that is not plain."""
    name = annotation.removesuffix(" | None")
    if name in ("int", "float", "bool"):
        return name, name != annotation
    named = inspect.unwrap(function).__globals__.get(name)
    return (get_args(named), name != annotation) if get_origin(named) is Literal else None


def _plain(value: object, kind: tuple[object, bool], name: str) -> object:
    expected, optional = kind
    if value is None and optional:
        return None
    if isinstance(expected, tuple):
        return check_choice(value, expected, name=name)
    plain = value.item() if isinstance(value, _Scalar) and value.shape == () else value
    if expected == "bool":
        return check_type(plain, bool, name=name, allowed="True or False")
    whole = expected == "int"
    right = isinstance(plain, int) if whole else isinstance(plain, int | float)
    endless = isinstance(plain, float) and not math.isfinite(plain)
    if not right or isinstance(plain, bool) or endless:
        raise ArgumentError(
            f"{name} is {describe(value)}", allowed="a whole number" if whole else "a finite number"
        )
    return plain


def check_choice(value: object, choices: Collection[T], *, name: str) -> T:
    """One of a few names. Raises UnknownNameError, which lists them, or ArgumentError for what is no name."""
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    if not isinstance(value, str):
        raise ArgumentError(f"{name} is {describe(value)}", allowed=", ".join(map(repr, choices)))
    raise UnknownNameError(name, value, [str(choice) for choice in choices])
