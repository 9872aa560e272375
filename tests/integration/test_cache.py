"""Organisms that do not ship come from the cache, under the hash of their recipe; those of seconds are made
there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import reasonmech as rm
from reasonmech.cli.organisms import organisms_build
from reasonmech.errors import NotBuiltError, OutputError, UnknownNameError
from reasonmech.files import partial_of
from reasonmech.hosts import is_here
from reasonmech.organisms import build_in_cache, cache, recipes
from reasonmech.organisms.cache import (
    built_seeds,
    cache_home,
    is_untrained,
    own_roles,
    recipe_hash,
    truth_home,
)
from reasonmech.organisms.recipes import ModelRecipe
from reasonmech.organisms.training.rotation import Rotation
from reasonmech.paths import cache_dir, organism_dir
from reasonmech.resumable import only_writer

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REASONMECH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def contents(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_the_rotated_pair_is_made_once_and_is_the_one_whose_truth_ships(own_cache: Path) -> None:
    assert not is_here("organism:tiny-rotated/thinking") and not own_cache.exists()
    pair = rm.load_pair("tiny-rotated")
    assert is_here("organism:tiny-rotated/thinking")
    truth = json.loads((organism_dir() / "tiny-rotated" / "truth.json").read_text())
    assert pair.base.weight_hash != pair.thinking.weight_hash
    assert truth["weights"] == {"base": pair.base.weight_hash, "thinking": pair.thinking.weight_hash}
    (home,) = [path for path in (own_cache / "organisms").iterdir() if not path.name.startswith(".")]
    assert home == cache_home("tiny-rotated") and not (home / "base").exists(), (
        "the shared base is stored once"
    )
    made = (home / "thinking" / "model.safetensors").stat().st_mtime_ns
    assert rm.load_pair("tiny-rotated").thinking.weight_hash == pair.thinking.weight_hash
    assert (home / "thinking" / "model.safetensors").stat().st_mtime_ns == made, "read, not made again"
    assert rm.load_host("organism:tiny-rotated/thinking").weight_hash == pair.thinking.weight_hash


def test_a_making_that_is_stopped_leaves_nothing_that_looks_complete(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "make", stopped)
    with pytest.raises(KeyboardInterrupt):
        rm.load_pair("tiny-rotated")
    assert not cache_home("tiny-rotated").exists() and contents(own_cache) == set()
    monkeypatch.undo()
    monkeypatch.setenv("REASONMECH_CACHE", str(own_cache))
    assert rm.load_pair("tiny-rotated").name == "tiny-rotated"


def test_who_comes_second_takes_what_the_first_has_made(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cache.make

    def late(*given: object, **named: object) -> object:
        made = first(*given, **named)  # pyright: ignore[reportArgumentType]
        cache_home("tiny-rotated").mkdir()
        (cache_home("tiny-rotated") / "of the first").touch()
        return made

    monkeypatch.setattr(cache, "make", late)
    assert cache.Zoo().fetch("tiny-rotated") == cache_home("tiny-rotated")
    assert contents(own_cache / "organisms") == {f"{cache_home('tiny-rotated').name}/of the first"}


def test_a_pair_of_one_model_stores_nothing(own_cache: Path) -> None:
    pair = rm.load_pair("tiny-aa")
    assert pair.base.weight_hash == pair.thinking.weight_hash == rm.load_pair("tiny-when").base.weight_hash
    assert not own_cache.exists() and own_roles(recipes.get("tiny-aa")) == []


def test_a_trained_one_that_does_not_ship_says_how_to_build_it_and_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = replace(recipes.get("tiny-when"), minutes=17)
    monkeypatch.setitem(recipes._entries, "tiny-mine", recipe)
    with pytest.raises(NotBuiltError, match=r"organisms build tiny-mine  \(about 17 minutes"):
        rm.load_host("organism:tiny-mine/base")
    with pytest.raises(NotBuiltError, match="tiny-mine does not ship"):
        truth_home("tiny-mine")
    home = cache_home("tiny-mine")
    home.parent.mkdir(parents=True)
    home.symlink_to(organism_dir() / "tiny-when")
    assert (
        rm.load_host("organism:tiny-mine/base").weight_hash
        == rm.load_host("organism:tiny-when/base").weight_hash
    )
    assert truth_home("tiny-mine") == home
    newer = replace(recipe, task="chain-silent")
    monkeypatch.setitem(recipes._entries, "tiny-mine", newer)
    with pytest.raises(NotBuiltError):  # by another recipe: not taken for this one
        rm.load_host("organism:tiny-mine/base")


@pytest.mark.parametrize(
    "name", ["organism:tiny-wen/base", "organism:tiny-rotated/base", "organism:tiny-aa/thinking"]
)
def test_an_unknown_organism_or_part_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"organism:tiny-rotated/thinking.*organism:tiny-when/base"):
        rm.load_host(name)
    with pytest.raises(UnknownNameError):
        is_here(name)


def test_the_hash_is_of_what_decides_the_weights() -> None:
    recipe = recipes.get("tiny-when")
    assert recipe_hash(recipe) == recipe_hash(replace(recipe, card="another", says="so", minutes=1.0))
    others = [
        recipe.seeded(1),
        replace(recipe, task="chain-swap"),
        replace(recipe, base=ModelRecipe("organism:x/base")),
    ]
    assert len({recipe_hash(variant) for variant in (recipe, *others)}) == 4
    assert recipe_hash(recipe.seeded(0)) == recipe_hash(recipe)


def test_only_what_takes_no_training_is_made_at_once() -> None:
    assert is_untrained(recipes.get("tiny-aa")) and is_untrained(recipes.get("tiny-rotated"))
    assert not is_untrained(recipes.get("tiny-when"))
    assert is_untrained(
        replace(
            recipes.get("tiny-when"),
            base=ModelRecipe("here"),
            thinking=ModelRecipe("base", (Rotation(),) * 2),
        )
    )


def test_two_processes_do_not_build_one_organism_at_once(own_cache: Path) -> None:
    partial = partial_of(cache_home("tiny-when"))
    partial.mkdir(parents=True)
    with only_writer(partial), pytest.raises(OutputError, match="another process"):
        build_in_cache("tiny-when", progress=False)
    cache_home("tiny-when").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        build_in_cache("tiny-when", progress=False)


def test_seeds_that_were_built_are_listed_and_printed_for_what_reads_a_pair(own_cache: Path, capsys) -> None:
    assert built_seeds("tiny-how") == {}
    for seed in (0, 2):
        cache_home("tiny-how", seed=seed).mkdir(parents=True)
    home = cache_home("tiny-how", seed=2)
    assert built_seeds("tiny-how") == {2: home} and home != cache_home("tiny-how")
    organisms_build("tiny-how", seed=2)
    printed = capsys.readouterr()
    assert printed.out == f"{home}\n" and "is built already" in printed.err


def test_the_cache_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    assert cache_dir() == own_cache
    monkeypatch.delenv("REASONMECH_CACHE")
    assert cache_dir() == Path.home() / ".cache" / "reasonmech"
