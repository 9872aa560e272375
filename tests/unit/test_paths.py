"""Output directories appear complete or not at all; configs say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasonmech.errors import CorruptFileError, OutputError
from reasonmech.paths import (
    LOCK_FILE,
    PLAN_FILE,
    begun,
    check_new,
    config_dir,
    new_directory,
    partial_of,
    write_plan,
)


def test_a_directory_appears_when_its_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_directory(out) as partial:
        (partial / "a").write_text("1")
        assert not out.exists()
    assert (out / "a").read_text() == "1" and not partial_of(out).exists()


def test_an_exception_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), new_directory(out) as partial:
        (partial / "a").write_text("1")
        raise KeyboardInterrupt
    assert not out.exists() and partial_of(out).exists()
    with new_directory(out) as partial:
        assert not list(partial.iterdir())
    assert out.exists()


@pytest.mark.parametrize("kept", ["plan.json", "stages"])
def test_what_somebody_can_still_finish_is_not_removed(tmp_path: Path, kept: str) -> None:
    out = tmp_path / "out"
    theirs = partial_of(out) / kept
    theirs.mkdir(parents=True)
    with pytest.raises(OutputError, match="unfinished capture, sweep or run"), new_directory(out):
        raise AssertionError("the block must not start")
    assert theirs.exists() and not out.exists()


def test_what_exists_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        check_new(tmp_path)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OutputError, match="cannot be created"):
        check_new(file / "out")
    with pytest.raises(OutputError, match="cannot be"):
        check_new("/proc/nothing/out")


def test_the_shipped_configs_are_found() -> None:
    assert (config_dir() / "pairs" / "tiny-when.yaml").is_file()
    assert (config_dir() / "coders" / "topk.yaml").is_file()


def test_what_a_kill_left_is_told_from_what_others_left(tmp_path: Path) -> None:
    plan = {"sites": ("a", "b"), "n": 3}  # JSON has no tuples
    assert begun(tmp_path, plan) == "new"
    for name in (LOCK_FILE, f"{PLAN_FILE}.unfinished", "progress"):
        (tmp_path / name).touch()
    assert begun(tmp_path, plan, beside={"progress"}) == "new" and begun(tmp_path, plan) == "other"
    write_plan(tmp_path, plan)
    assert begun(tmp_path, plan) == "same" and begun(tmp_path, plan | {"n": 4}) == "other"
    (tmp_path / PLAN_FILE).write_text("")
    with pytest.raises(CorruptFileError, match="not JSON"):
        begun(tmp_path, plan)
