"""Damaged JSON, drawn at random: in a valid file one value is of another type, missing, or there twice."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

OTHERS = (None, True, False, 0, -1, 3, 2.5, "", "x", [], [1], ["x", None], {}, {"x": 1}, [[[]]], 10**400)
Path = tuple[str | int, ...]


class Damage(NamedTuple):
    """What was done where, and the text that came of it."""

    how: str
    path: Path
    text: str


class _Twice(dict[str, Any]):
    """An object whose first key is there twice, the second time with another value."""

    def items(self) -> Any:
        pairs = list(super().items())
        return [*pairs[:-1], (self["again"][0], self["again"][1])]


def paths_of(value: Any, at: Path = ()) -> Iterator[Path]:
    """Where every value inside of another one stands."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield (*at, key)
        yield from paths_of(child, (*at, key))


@st.composite
def damages(draw: st.DrawFn, value: Any) -> Damage:
    """One damage of a JSON value."""
    path = draw(st.sampled_from(list(paths_of(value))))
    ways = ["replace", "delete", *(["duplicate"] if isinstance(path[-1], str) else [])]
    how = draw(st.sampled_from(ways))
    damaged = copy.deepcopy(value)
    above: Any = None
    outer = damaged
    for key in path[:-1]:
        above, outer = outer, outer[key]
    old = outer[path[-1]]
    other = draw(st.sampled_from([value for value in OTHERS if type(value) is not type(old)]))
    if how == "replace":
        outer[path[-1]] = other
    elif how == "delete":
        del outer[path[-1]]
    else:
        twice = _Twice({**outer, "again": (path[-1], draw(st.sampled_from([old, other])))})
        if above is None:
            damaged = twice
        else:
            above[path[-2]] = twice
    return Damage(how, path, json.dumps(damaged))
