"""Pairs of a real model under adapters stand in the lists, with what is true of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasonmech.errors import NotBuiltError, UnknownNameError
from reasonmech.hosts import pair_config
from reasonmech.organisms import recipes
from reasonmech.organisms.cache import truth_home
from reasonmech.organisms.overview import list_loadable, overview, recipe_of, where_of
from reasonmech.organisms.record import TRUTH_FILE
from reasonmech.organisms.smol import RECIPES, ROLES
from reasonmech.paths import adapter_dir


def test_what_is_said_of_them_and_what_ships_are_the_same_pairs() -> None:
    assert set(RECIPES) == {path.name for path in adapter_dir().iterdir()}
    for name, recipe in RECIPES.items():
        config = pair_config(name)
        assert (config.base, config.thinking) == tuple(f"organism:{name}/{role}" for role in ROLES)
        assert (recipe.base.start, recipe.thinking.start, recipe.task) == (
            config.base,
            config.thinking,
            config.task,
        )


def test_they_are_listed_and_no_list_of_what_can_be_loaded_at_once_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REASONMECH_CACHE", str(tmp_path))
    rows = {row.name: row for row in overview()}
    assert set(rows) == {*recipes, *RECIPES}
    row = rows["smol-letters"]
    assert row.where == where_of("smol-letters") == "to build" and row.truth_class == "when"
    assert row.megabytes is not None and 10 < row.megabytes < 20  # of its adapters, which ship
    assert not set(RECIPES) & set(list_loadable())


def test_a_name_is_looked_up_among_both_kinds() -> None:
    assert recipe_of("smol-letters") is RECIPES["smol-letters"]
    assert recipe_of("tiny-when") is recipes.get("tiny-when")
    with pytest.raises(UnknownNameError):
        recipe_of("smol-leters")


def test_a_card_says_where_a_truth_was_not_measured() -> None:
    unmeasured = [name for name in RECIPES if not (adapter_dir() / name / TRUTH_FILE).is_file()]
    for name in RECIPES:
        if name in unmeasured:
            with pytest.raises(NotBuiltError, match="has not been measured"):
                truth_home(name)
        else:
            assert truth_home(name) == adapter_dir() / name
