"""Suggestions: what somebody who typed an unknown name most likely meant."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path

CUTOFF = 0.6  # of difflib: below it the "close" names of a long list are noise
PACKAGE = Path(__file__).parent


def close_matches(name: str, valid: Iterable[str]) -> list[str]:
    """At most three names that look like `name`, the closest first; upper and lower case count as equal."""
    by_lower = {one.lower(): one for one in valid}
    return [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=3, cutoff=CUTOFF)]


@cache
def exported(module: str) -> tuple[str, ...]:
    """`__all__` of a package of this library, from its source: no import for an error message."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
    return ()


def where_else(name: str, public: Collection[str], namespaces: Mapping[str, str]) -> str:
    """Where a name is, if a namespace has it; else the names that look like it; else all there are."""
    inside = {f"rm.{space}.{one}": one for space, module in namespaces.items() for one in exported(module)}
    if homes := [home for home, one in inside.items() if one == name]:
        return f"it is {' or '.join(homes)}"
    homes_of = {one: home for home, one in reversed(inside.items())} | {one: f"rm.{one}" for one in public}
    homes_of |= {space: f"rm.{space}" for space in namespaces}
    if close := close_matches(name, homes_of):
        return f"did you mean {' or '.join(homes_of[one] for one in close)}?"
    return f"public names: {', '.join(sorted(public))}; namespaces: {', '.join(sorted(namespaces))}"
