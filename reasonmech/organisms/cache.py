"""The zoo's cache: organisms that do not ship, each under its name and the hash of its recipe."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, final

from reasonmech.door import checked
from reasonmech.errors import NotBuiltError
from reasonmech.files import check_new
from reasonmech.hosts import organism_stores
from reasonmech.organisms.building import build, weight_fields
from reasonmech.organisms.making import existing, make
from reasonmech.organisms.recipes import ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.record import TRUTH_FILE
from reasonmech.organisms.training.edits import WeightEdit
from reasonmech.paths import adapter_dir, cache_dir, organism_dir
from reasonmech.ranges import Seed
from reasonmech.tasks.chain import word_tokenizer

Role = Literal["base", "thinking"]
SEEDS: Final = 10
"""Seeds that are looked for: 0, which ships, to 9."""


def recipe_hash(recipe: PairRecipe) -> str:
    """First 12 digits of the SHA-256 over everything in a recipe that decides its weights."""
    return hashlib.sha256(json.dumps(weight_fields(recipe), sort_keys=True).encode()).hexdigest()[:12]


def cache_home(name: str, *, seed: int = 0) -> Path:
    """Where an organism of this seed is, or would be, built: `<cache>/organisms/<name>-<hash of the recipe>`.

    Raises:
        UnknownNameError: no such organism.
    """
    return cache_dir() / "organisms" / f"{name}-{recipe_hash(recipes.get(name).seeded(seed))}"


@checked
def build_in_cache(name: str, *, seed: Seed = 0, progress: bool = True) -> Path:
    """Build an organism with its truth into the cache, where `organism:NAME/thinking` finds seed 0; resumes.

    Raises:
        UnknownNameError: no such organism.
        OutputError: it is there already, or another process is building it.
        DataError: as `build`.
    """
    return build(name, cache_home(name, seed=seed), seed=seed, progress=progress)


@checked
def built_seeds(name: str) -> dict[int, Path]:
    """Where an organism of other seeds than the shipped one is in the cache, by seed.

    Raises:
        UnknownNameError: no such organism.
    """
    homes = {seed: cache_home(name, seed=seed) for seed in range(1, SEEDS)}
    return {seed: home for seed, home in homes.items() if home.is_dir()}


def truth_home(source: str | Path) -> Path:
    """The directory with the truth of an organism (shipped, else in the cache) or of a pair that was built
    anywhere.

    Raises:
        UnknownNameError: no such organism, and no such directory.
        NotBuiltError: it neither ships nor is built; or, of a real model's pair, it has not been measured.
    """
    name = str(source)
    if name not in recipes.kinds() and Path(source).is_dir():
        return Path(source)
    if (adapter_dir() / name).is_dir():
        return _adapted_home(name)
    recipe, shipped = recipes.get(name), organism_dir() / name
    if shipped.is_dir():
        return shipped
    if not cache_home(name).is_dir():
        raise _not_built(name, recipe)
    return cache_home(name)


def _adapted_home(name: str) -> Path:
    """The directory of a pair of a real model under adapters, where its truth lies beside them."""
    home = adapter_dir() / name
    if not (home / TRUTH_FILE).is_file():
        raise NotBuiltError(
            f"the truth of {name} has not been measured",
            do=f'rm.organisms.measure_truth(pair.base, pair.thinking, problems) of rm.load_pair("{name}")',
        )
    return home


def own_roles(recipe: PairRecipe) -> list[Role]:
    """The models that the pair shares with no other, and which are stored under its name."""
    sides: tuple[tuple[Role, ModelRecipe], ...] = (("base", recipe.base), ("thinking", recipe.thinking))
    return [role for role, model_recipe in sides if model_recipe.shared is None]


def is_untrained(recipe: PairRecipe) -> bool:
    """Whether it takes no training: models that exist, as they are or edited."""
    parts = (recipe.base, recipe.thinking)
    return all(
        isinstance(model_recipe.start, str) and all(isinstance(s, WeightEdit) for s in model_recipe.stages)
        for model_recipe in parts
    )


@final
class Zoo:
    """The store of every organism that has a recipe."""

    def parts(self) -> Sequence[str]:
        return [f"{name}/{role}" for name in recipes for role in own_roles(recipes.get(name))]

    def cached(self, name: str) -> Path | None:
        home = cache_home(name)
        return home if home.is_dir() else None

    def fetch(self, name: str) -> Path:
        home, recipe = cache_home(name), recipes.get(name)
        if home.is_dir():
            return home
        if is_untrained(recipe):
            return _make_untrained(recipe.seeded(0), home)
        raise _not_built(name, recipe)


def _not_built(name: str, recipe: PairRecipe) -> NotBuiltError:
    return NotBuiltError(
        f"{name} does not ship, and is not in {cache_home(name).parent}",
        do=f"reasonmech organisms build {name}  (about {recipe.minutes:.0f} minutes on two cores; it "
        "resumes)",
    )


def _make_untrained(recipe: PairRecipe, home: Path) -> Path:
    """The models that the pair shares with no other; two processes may be at it, and the first to finish
    names it."""
    check_new(home)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=f".{home.name}.") as beside:
        work = Path(beside) / home.name
        work.mkdir()
        base = existing(str(recipe.base.start))
        for role in own_roles(recipe):
            make(recipe.base if role == "base" else recipe.thinking, work / role, base=base)[
                0
            ].save_pretrained(work / role)
            word_tokenizer().save_pretrained(work / role)
        try:
            work.rename(home)
        except OSError:
            if not home.is_dir():
                raise
    return home


organism_stores.register("zoo")(Zoo())
