"""What the third part of an error tells the caller to write exists: names, and parameters by their name."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import reasonmech as rm

ROOT = Path(rm.__file__).parent
MODULES = sorted(
    m.name for m in pkgutil.walk_packages([str(ROOT)], "reasonmech.") if "__main__" not in m.name
)
TREES = {path: ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
HOLE = "X"  # what an f-string fills in

NAME = re.compile(r"\brm((?:\.[A-Za-z_]\w*)+)")
CALL = re.compile(r"(?<![\w.])(?P<name>[A-Za-z_][\w.]*)\(")
PASSED = re.compile(r"\b(?P<keyword>[a-z_]+)= (?:to|in) (?P<name>[a-z_]+)\b")
KEYWORD = re.compile(r"(?:^|,)\s*([a-z_]+)=")


@cache
def _texts() -> dict[str, str]:
    """Module-level texts, by name."""
    texts: dict[str, str] = {}
    for tree in TREES.values():
        for node in tree.body:
            target = (
                node.target
                if isinstance(node, ast.AnnAssign)
                else node.targets[0]
                if isinstance(node, ast.Assign)
                else None
            )
            value = getattr(node, "value", None)
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant | ast.BinOp | ast.JoinedStr):
                texts[target.id] = " ".join(_words(value, texts))
    return texts


def _words(node: ast.AST, texts: Mapping[str, str] | None = None) -> Iterator[str]:
    """The texts that an expression may be, with holes where values are filled in; `texts`: those by name."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(" ".join(_words(part, texts)) for part in parts)
        case ast.FormattedValue():
            yield HOLE
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield " ".join(_words(left, texts)) + " ".join(_words(right, texts))
        case ast.IfExp(body=body, orelse=orelse):
            yield from _words(body, texts)
            yield from _words(orelse, texts)
        case ast.Name(id=name):
            yield (_texts() if texts is None else texts).get(name, HOLE)
        case ast.Dict(values=values):
            for value in values:
                yield from _words(value, texts)
        case _:
            yield HOLE


def advice() -> list[tuple[str, str]]:
    """(place, text) of every do= of the package, and of every other text that names something of rm."""
    places = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "do":
                place = f"{path.relative_to(ROOT)}:{node.value.lineno}"
                places += [(place, text) for text in _words(node.value) if text != HOLE]
            elif isinstance(node, ast.Constant | ast.JoinedStr):  # docstrings, and what is handed on as do=
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                places += [(place, text) for text in _words(node) if NAME.search(text)]
    return places


@cache
def _callables() -> dict[str, list[Callable[..., Any]]]:
    """Functions and classes of the package, and methods of its classes, by name."""
    known: dict[str, list[Callable[..., Any]]] = {}
    for name in MODULES:
        for key, value in vars(importlib.import_module(name)).items():
            if inspect.isfunction(value) or inspect.isclass(value):
                known.setdefault(key, []).append(value)
    return known


def _resolve(dotted: str) -> Any:
    value: Any = rm
    for part in dotted.strip(".").split("."):
        value = getattr(value, part)
    return value


def _arguments(text: str, start: int) -> str:
    """What stands between the parenthesis before `start` and its partner, without what is nested in it."""
    depth, outer = 1, []
    for sign in text[start:]:
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0:
            break
        if depth == 1 and sign not in ")]}":
            outer.append(sign)
    return "".join(outer)


def _accepts(function: Callable[..., Any], keywords: set[str]) -> bool:
    parameters = inspect.signature(function).parameters
    return keywords <= set(parameters) or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def wrong_in(text: str) -> list[str]:
    """Names and parameters in a text that do not exist."""
    wrong = []
    for match in NAME.finditer(text):
        if f".{HOLE}" in match[1]:
            continue
        try:
            _resolve(match[1])
        except AttributeError:
            wrong.append(match[0])
    calls = [(m["name"], set(KEYWORD.findall(_arguments(text, m.end())))) for m in CALL.finditer(text)]
    calls += [(m["name"], {m["keyword"]}) for m in PASSED.finditer(text)]
    for name, keywords in calls:
        if name in wrong or f".{HOLE}" in name:
            continue
        if name.startswith("rm."):
            known = [_resolve(name.removeprefix("rm"))]
            if not callable(known[0]):
                wrong.append(f"{name}()")
                continue
        else:
            known = _callables().get(name, [])
        if keywords and known and not any(_accepts(function, keywords) for function in known):
            wrong += [
                f"{name}({keyword}=)"
                for keyword in sorted(keywords)
                if not any(_accepts(f, {keyword}) for f in known)
            ] or [name]
    return wrong


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("call rm.forward(host, texts, labels={})", ["rm.forward(labels=)"]),
        ("pass labels= to forward", ["forward(labels=)"]),
        ("rm.nothing(x) or rm.runtime.nothing", ["rm.nothing", "rm.runtime.nothing"]),
        ("Decode(samples=3, sample=4)", ["Decode(sample=)"]),
        ("rm.forward(host, rm.runtime.LabelledTexts(texts, {}), plan, batch_size=4)", []),
    ],
)
def test_what_does_not_exist_is_noticed(text: str, wrong: list[str]) -> None:
    assert wrong_in(text) == wrong


def test_the_advice_of_every_error_exists() -> None:
    places = advice()
    assert len(places) > 500 and sum("rm." in text for _, text in places) > 80
    assert {place: wrong for place, text in places if (wrong := wrong_in(text))} == {}
