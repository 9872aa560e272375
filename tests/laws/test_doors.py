"""Every public callable has a door: its plain arguments are checked before anything runs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest

import reasonmech as rm
from reasonmech.door import checked
from reasonmech.plain import Plain, kinds_of
from reasonmech.settings import Settings

# What has no door of `checked`, and why: its own check comes before any work, and says more than a kind and a
# range. `test_own_doors.py` calls each of these with values of no kind that it takes.
IN_THEIR_OWN_WORDS = {
    "Divergence": "names the threshold that no token, or every token, passes",
    "Features": "tells a mask of features from indices, and 3 from (3,)",
    "Mixture": "a share that is NaN is named with its side of the dial",
    "SAELensCoder.read": "runs in every pass: its indices are checked once, for the coder's own size",
    "SAELensCoder.rows": "as `read`",
    "above": "shows how a threshold is measured",
    "answer_likelihood": "tells one text from one per text",
    "at": "tells positions in a list from `per_row`, and shows both",
    "below": "as `above`",
    "divergence": "as `Divergence`",
    "generated": "shows half-open bounds, and what a slice would be",
    "grid": "names the one of several amounts that cannot be tried",
    "inside": "shows how a tag is written, in either model's names",
    "label": "tells rollouts from traces, and lists the behaviours of a task",
    "labelled": "shows where labels are given",
    "load_experiment": "tells one override from its characters",
    "load_plan": "tells a file from its text, and from what YAML gave",
    "logit_diff": "tells one word from one per text",
    "mix_skills": "as `Mixture`",
    "onset_log_odds": "tells one onset from its letters",
    "parse_answer": "whatever a judge answers is data: `DataError`, so that it is asked again",
    "prompt": "as `generated`",
    "ramp": "as `above`",
    "sentence_starts": "tells one end from several",
    "tokens": "tells words, ids and runs of ids apart",
}
# results, whose numbers may be infinite
ONLY_MADE_BY_US = {
    "Activations",
    "Audit",
    "FitReport",
    "Host",
    "Moment",
    "NullDistribution",
    "Sinks",
    "StageContext",
}
ONLY_SITES = {"site"}  # `Site.parse` is the door of every site


def values() -> Iterator[Any]:
    for name in rm._HOME:
        yield getattr(rm, name)
    for space in rm._NAMESPACES:
        module = getattr(rm, space)
        for name in getattr(module, "__all__", ()):
            yield getattr(module, name)


def callables() -> Iterator[tuple[str, FunctionType]]:
    """Public functions, constructors, and public methods that have a body of ours."""
    for value in values():
        if inspect.isfunction(value):
            yield value.__qualname__, value
        if not isinstance(value, type) or value in vars(value).get("__parameters__", ()):
            continue
        for cls in value.__mro__:
            if not cls.__module__.startswith("reasonmech.") or cls.__dict__.get("_is_protocol", False):
                continue
            for name, member in vars(cls).items():
                function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
                public = not name.startswith("_") or name in ("__init__", "__call__")
                if isinstance(function, FunctionType) and public and not _is_abstract(function):
                    settings = issubclass(cls, Settings) and name in ("__init__", "model_copy")
                    if not settings:
                        of = cls.__qualname__
                        yield of if name == "__init__" else f"{of}.{name}", function


def _is_abstract(function: FunctionType) -> bool:
    return "__isabstractmethod__" in vars(function)


def has_door(function: Callable[..., Any]) -> bool:
    """Whether `checked` stands somewhere among its decorators."""
    code = checked(_is_abstract).__code__
    while function.__code__ is not code:
        if "__wrapped__" not in vars(function):
            return False
        function = vars(function)["__wrapped__"]
    return True


def plain(function: FunctionType) -> dict[str, Plain]:
    return {name: kind for name, kind in kinds_of(function).items() if name not in ONLY_SITES}


CALLABLES = sorted(dict(callables()).items())


@pytest.mark.parametrize(("name", "function"), CALLABLES, ids=[name for name, _ in CALLABLES])
def test_a_public_callable_with_plain_parameters_has_a_door(name: str, function: FunctionType) -> None:
    exempt = name in IN_THEIR_OWN_WORDS.keys() | ONLY_MADE_BY_US
    if exempt:
        assert not has_door(function), f"{name} has a door: take it out of the list"
    elif listed := plain(function):
        assert has_door(function), f"{name} takes {', '.join(listed)}: put @checked on it (CONTRIBUTING)"


def test_the_walk_sees_what_it_should() -> None:
    names = {name for name, _ in CALLABLES}
    assert names >= IN_THEIR_OWN_WORDS.keys() | ONLY_MADE_BY_US
    assert {"Rollouts.save", "Keep", "Problem", "Labels", "generate", "locate"} <= names
    assert sum(has_door(function) for _, function in CALLABLES) > 250


@pytest.mark.parametrize(("name", "function"), CALLABLES, ids=[name for name, _ in CALLABLES])
def test_nothing_plain_in_a_signature_goes_unread(name: str, function: FunctionType) -> None:
    """An annotation that names a plain type and could not be read would be a door that is never shut."""
    annotations = {p.name: str(p.annotation) for p in inspect.signature(function).parameters.values()}
    read = kinds_of(function)
    for parameter, annotation in annotations.items():
        if re.fullmatch(r"(int|float|bool|str|Path|None| |\|)+", annotation) and annotation != "None":
            assert parameter in read, f"{name}: {parameter}: {annotation}"
