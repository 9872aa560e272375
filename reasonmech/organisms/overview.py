"""What is known of every organism without running it: the rows of `organisms list`, the table of its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from reasonmech.hosts import is_here
from reasonmech.organisms.cache import cache_home, is_untrained, own_roles
from reasonmech.organisms.recipes import PairRecipe, recipes
from reasonmech.organisms.smol import RECIPES, Adapted
from reasonmech.paths import ORGANISM_PREFIX, adapter_dir, organism_dir

Json = dict[str, Any]
Where = Literal["shipped", "cached", "to build"]


class OrganismSummary(NamedTuple):
    """One organism.

    Attributes:
        truth_class: "when", "how", "both", "surface", "sharpened" or "none".
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


def overview() -> list[OrganismSummary]:
    """Every organism that has a recipe, by name; then the pairs of a real model under adapters."""
    return [*map(_summarise, recipes), *map(_summarise_adapted, RECIPES)]


def recipe_of(name: str) -> PairRecipe:
    """The recipe of an organism, or what is true of a pair of a real model under adapters.

    Raises:
        UnknownNameError: no such pair.
    """
    return RECIPES[name] if name in RECIPES else recipes.get(name)


def list_loadable() -> list[str]:
    """Names of organisms that can be loaded at once: shipped, in the cache, or made in seconds."""
    return [name for name in recipes if is_untrained(recipes.get(name)) or where_of(name) != "to build"]


def _summarise(name: str) -> OrganismSummary:
    recipe = recipes.get(name)
    where = where_of(name)
    home = organism_dir() / name if where == "shipped" else cache_home(name)
    size = None if where == "to build" else _bytes_of(home) / 1e6
    return OrganismSummary(name, recipe.truth_class, where, size, recipe.minutes, recipe.says)


def _summarise_adapted(name: str) -> OrganismSummary:
    recipe = RECIPES[name]
    size = _bytes_of(adapter_dir() / name) / 1e6
    return OrganismSummary(name, recipe.truth_class, where_of(name), size, recipe.minutes, recipe.says)


def where_of(name: str) -> Where:
    """Where the weights are that an organism shares with no other; else those that it shares. Of adapters:
    whether they are merged.

    Raises:
        UnknownNameError: no such organism.
    """
    if name in RECIPES:
        return "to build" if Adapted().cached(name) is None else "cached"
    recipe = recipes.get(name)
    roles = own_roles(recipe)
    if all((organism_dir() / name / role).is_dir() for role in roles):
        shared = [
            model.shared
            for model in (recipe.base, recipe.thinking)
            if model.shared and model.shared != "base"
        ]
        return (
            "shipped"
            if all(is_here(path) for path in shared if path.startswith(ORGANISM_PREFIX))
            else "to build"
        )
    return "cached" if cache_home(name).is_dir() else "to build"


def _bytes_of(home: Path) -> float:
    return float(sum(path.stat().st_size for path in home.glob("*/*.safetensors")))


def truth_table(truth: Json) -> list[tuple[str, str]]:
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


def _percent(rate: Json, *, unit: str = "%") -> str:
    if rate["estimate"] is None:
        return "nothing to count"
    return f"{100 * rate['estimate']:.1f} {unit} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
