"""A registration is known by everything that was fixed; who looked at a split before is on record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reasonmech.claims import Extent, Questions, Rule, Terms, measure_judgement
from reasonmech.claims.registration import Looks, Registration
from reasonmech.errors import CorruptFileError, DataError, OutputError
from reasonmech.testing import tiny_pair

FIRST = Registration("pair", "base-hash", "thinking-hash", "chain", Terms(), Extent(300))
OTHERS = {
    "rule": replace(FIRST, terms=Terms(rule=Rule(margin=0.04))),
    "seed": replace(FIRST, terms=Terms(seed=1)),
    "split": replace(FIRST, terms=Terms(split="test")),
    "n": replace(FIRST, extent=Extent(200)),
    "full": replace(FIRST, extent=Extent.of(300, full=True)),
    "base": replace(FIRST, base="another"),
    "thinking": replace(FIRST, thinking="another"),
    "task": replace(FIRST, task="chain-swap"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_whatever_is_fixed_is_in_the_hash(other: Registration) -> None:
    assert other.hash != FIRST.hash


def test_a_name_is_not_in_the_hash() -> None:
    assert replace(FIRST, pair="renamed").hash == FIRST.hash


def test_every_claim_is_registered_by_its_hash() -> None:
    named = {"C8", "C9", "C10", "sharpening", "format", "length", "luck", "integrity"}
    assert named | {"moments", "oracle-free", "leak", "takeover"} == set(FIRST.to_json()["claims"])
    assert FIRST.to_json()["claims"]["C9"] != OTHERS["rule"].to_json()["claims"]["C9"]
    assert FIRST.to_json()["claims"]["C9"] != OTHERS["split"].to_json()["claims"]["C9"]


def test_a_second_look_at_a_split_names_the_first(tmp_path: Path) -> None:
    looks = Looks(tmp_path / "ledger")
    assert looks.place(FIRST) is None
    assert looks.open(FIRST, tmp_path / "one") == ()
    (earlier,) = looks.open(OTHERS["seed"], tmp_path / "two")
    assert FIRST.hash[:12] in earlier and "n = 300, seed 0" in earlier
    assert looks.open(OTHERS["split"], tmp_path / "three") == ()  # another split was not opened before
    assert looks.open(OTHERS["thinking"], tmp_path / "four") == ()  # nor that of another pair


def test_the_first_look_stays_the_first_when_it_is_opened_again(tmp_path: Path) -> None:
    looks = Looks(tmp_path / "ledger")
    looks.open(FIRST, tmp_path / "one")
    looks.open(OTHERS["rule"], tmp_path / "two")
    assert looks.open(FIRST, tmp_path / "moved") == ()
    assert looks.place(FIRST) == (tmp_path / "moved").resolve()


def test_a_ledger_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        Looks(tmp_path / "ledger").open(FIRST, tmp_path / "one")


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    looks = Looks(tmp_path / "ledger")
    looks.open(FIRST, tmp_path / "one")
    (tmp_path / "ledger" / f"{FIRST.hash}.json").write_text("{")
    with pytest.raises(CorruptFileError, match=FIRST.hash):
        looks.open(FIRST, tmp_path / "one")


def test_the_confirmation_split_is_not_measured_without_an_entry() -> None:
    pair, extent = tiny_pair(), Extent.of(59, full=False)
    questions = Questions.drawn("chain", extent, split="confirmation", seed=0)
    registration = Registration.of(pair, task="chain", terms=Terms(task="chain"), extent=extent)
    with pytest.raises(DataError, match="enters no look in the ledger"):
        measure_judgement(pair, questions, registration, progress=False)
