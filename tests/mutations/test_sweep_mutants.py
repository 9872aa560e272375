"""What sweeps promise, broken on purpose: each mutant must be killed by a named test."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path

import pandas as pd
import pytest

from reasonmech.causal.sweeps import identity as sweep_identity
from reasonmech.causal.sweeps.store import SweepStore
from reasonmech.runtime.batched.cells import Cell
from tests.unit.causal import test_sweep as sweeps

SWEEP = import_module("reasonmech.causal.sweeps.sweep")
RUN = import_module("reasonmech.causal.sweeps.run")
Patch = Callable[[pytest.MonkeyPatch], None]


def cells_of_two_texts_mixed_up(m: pytest.MonkeyPatch) -> None:
    m.setattr(SWEEP, "Cell", lambda text, plan: Cell(text ^ 1 if text < 4 else text, plan))


def values_in_the_order_of_the_batch(m: pytest.MonkeyPatch) -> None:
    right = SWEEP.run_cells

    def rolled(*arguments: object, **settings: object) -> object:
        result = right(*arguments, **settings)
        return result._replace(value=result.value.roll(1))

    m.setattr(SWEEP, "run_cells", rolled)


def hash_that_forgets_the_plan(m: pytest.MonkeyPatch) -> None:
    right = sweep_identity.cell_hash
    m.setattr(SWEEP, "cell_hash", lambda measured, plan, unit: right(measured, "", unit))


def order_as_given(m: pytest.MonkeyPatch) -> None:
    m.setattr(RUN, "in_order", list)
    right = SWEEP.cell_hash
    count = iter(range(10**6))
    m.setattr(SWEEP, "cell_hash", lambda measured, plan, unit: right(measured, plan, f"{unit} {next(count)}"))


def shard_of_the_neighbour(m: pytest.MonkeyPatch) -> None:
    right = SweepStore.write

    def swapped(self: SweepStore, number: int, shard: pd.DataFrame) -> None:
        right(self, number, shard.assign(value=shard["value"].to_numpy()[::-1]))

    m.setattr(SweepStore, "write", swapped)


def differences_never_seen(m: pytest.MonkeyPatch) -> None:
    m.setattr("reasonmech.resumable.differences", lambda old, new, words: "")


def masks_not_looked_at(m: pytest.MonkeyPatch) -> None:
    m.setattr(SWEEP, "_check_mask", lambda *_: None)


MUTANTS: list[tuple[Patch, Callable[..., None]]] = [
    (cells_of_two_texts_mixed_up, sweeps.test_every_value_is_forward_of_its_text_alone),
    (values_in_the_order_of_the_batch, sweeps.test_every_value_is_forward_of_its_text_alone),
    (hash_that_forgets_the_plan, sweeps.test_a_cell_is_known_by_everything_that_its_number_depends_on),
    (order_as_given, sweeps.test_the_order_in_which_things_are_given_changes_nothing),
    (shard_of_the_neighbour, sweeps.test_interrupted_at_every_shard_it_ends_as_if_it_had_not_been),
    (differences_never_seen, sweeps.test_a_finished_sweep_is_read_and_a_changed_one_refused),
    (masks_not_looked_at, sweeps.test_a_mask_that_names_nothing_is_told_before_anything_runs),
]


@pytest.mark.parametrize(("mutant", "law"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS])
def test_mutant_is_killed(
    mutant: Patch, law: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixtures = {"tmp_path": tmp_path / "mutant", "monkeypatch": monkeypatch}
    (tmp_path / "mutant").mkdir()
    mutant(monkeypatch)
    wanted = {name: fixtures[name] for name in signature(law).parameters}
    with pytest.raises(
        (AssertionError, pytest.fail.Exception, TypeError)
    ):  # the last: what may not run is None
        law(**wanted)
