"""Options: those that several verbs share, and options that belong together as one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override one key, a.b=3")
]
Out = Annotated[Path | None, typer.Option("--out", help="directory to create")]
Workers = Annotated[
    int, typer.Option("--workers", min=1, help="processes; for small models, as many as cores are idle")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress bars")]


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb whose dataclass parameters become one option per field on the command line.

    A verb takes at most six parameters: options that belong together are one frozen dataclass, whose fields
    are annotated as parameters of a verb are.

    >>> @dataclass(frozen=True)
    ... class Push:
    ...     features: Annotated[str, typer.Option(help="comma-separated")] = ""
    ...     amount: Annotated[float, typer.Option(help="activation units")] = 1.0
    >>> def steer(model: Annotated[str, typer.Argument()], push: Push) -> None: ...
    >>> app.command()(grouped(steer))  # reasonmech steer MODEL --features 14 --amount 8
    """
    hints = get_type_hints(verb, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}
    parameters: list[Parameter] = []
    for name, parameter in signature(verb).parameters.items():
        if name in groups:
            parameters += _parameters_of(groups[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=Parameter.KEYWORD_ONLY))
    members = {name: [field.name for field in fields(group)] for name, group in groups.items()}

    def called(**values: Any) -> None:  # typer passes every option by keyword
        built = {name: groups[name](**_take(values, members[name])) for name in groups}
        verb(**values, **built)

    called.__name__, called.__doc__ = verb.__name__, verb.__doc__
    # typer reads a verb's options off both of these
    called.__signature__ = signature(verb).replace(parameters=parameters)  # pyright: ignore[reportFunctionMemberAccess]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def _parameters_of(group: type) -> list[Parameter]:
    """The fields of a dataclass as parameters of a function."""
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


def _take(values: dict[str, Any], names: list[str]) -> Mapping[str, Any]:
    """Remove some values, and return them."""
    return {name: values.pop(name) for name in names}
