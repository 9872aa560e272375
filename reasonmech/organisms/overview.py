"""What is known about every organism without running it: the rows of `organisms list`, the text of
`organisms card`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from reasonmech.hosts import is_here
from reasonmech.organisms.cache import cache_home, is_untrained, own_roles
from reasonmech.organisms.recipes import recipes
from reasonmech.paths import ORGANISM_PREFIX, organism_dir

Json = dict[str, Any]
Where = Literal["shipped", "cached", "to build"]


class Row(NamedTuple):
    """One organism.

    Attributes:
        truth_class: "when", "how", "both", "surface" or "none".
        where: its weights ship with the package, were built into the cache, or are to be built.
        megabytes: of the weights it shares with no other; None while they are to be built.
        minutes: that building takes on two cores.
        says: what a correct instrument says.
    """

    name: str
    truth_class: str
    where: Where
    megabytes: float | None
    minutes: float
    says: str


def overview() -> list[Row]:
    """Every organism that has a recipe, by name."""
    return [_row(name) for name in recipes]


def at_hand() -> list[str]:
    """Organisms that can be loaded at once: they ship, or are in the cache, or are made in seconds."""
    return [name for name in recipes if is_untrained(recipes.get(name)) or where_of(name) != "to build"]


def _row(name: str) -> Row:
    recipe = recipes.get(name)
    where = where_of(name)
    home = organism_dir() / name if where == "shipped" else cache_home(name)
    size = None if where == "to build" else _size(home) / 1e6
    return Row(name, recipe.truth_class, where, size, recipe.minutes, recipe.says)


def where_of(name: str) -> Where:
    """Where an organism's own weights are. One that has none of its own is where those are that it shares.

    Raises:
        UnknownNameError: no such organism.
    """
    recipe = recipes.get(name)
    roles = own_roles(recipe)
    if all((organism_dir() / name / role).is_dir() for role in roles):
        shared = [
            made.shared for made in (recipe.base, recipe.thinking) if made.shared and made.shared != "base"
        ]
        return (
            "shipped"
            if all(is_here(path) for path in shared if path.startswith(ORGANISM_PREFIX))
            else "to build"
        )
    return "cached" if cache_home(name).is_dir() else "to build"


def _size(home: Path) -> float:
    return float(sum(path.stat().st_size for path in home.glob("*/*.safetensors")))


def table_of(truth: Json) -> list[tuple[str, str]]:
    """The main numbers of a truth, each with its 95 % interval."""
    measured = truth["measured"]
    rows = []
    for role in ("base", "thinking"):
        model = measured[role]
        rows += [
            (f"{role}, accuracy, greedy", _percent(model["greedy"]["accuracy"])),
            (f"{role}, accuracy, T = 1", _percent(model["sampled"]["accuracy"])),
            (f"{role}, checks per opportunity, T = 1", _percent(model["sampled"]["onset"]["check"])),
            (f"{role}, slips undone, T = 1", _percent(model["sampled"]["slips_undone"])),
        ]
        rows += [
            (f"{role}, {behaviour} after a forced onset", _percent(models[role]))
            for behaviour, models in measured["execution"].items()
        ]
    for factor in ("when", "how"):
        rows.append((f"{factor.upper()}, by splicing", _percent(measured["splice"][factor], unit="points")))
    for name in [name for name in measured["base"] if name.startswith("pass@")]:
        rows.append(
            (f"base, {name.replace('_verified', ', every step right')}", _percent(measured["base"][name]))
        )
    return rows


def _percent(found: Json, *, unit: str = "%") -> str:
    if found["estimate"] is None:
        return "nothing to count"
    return f"{100 * found['estimate']:.1f} {unit} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
