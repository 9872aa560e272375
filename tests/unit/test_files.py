"""Files and output directories appear complete or not at all, and sizes are said in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reasonmech.disk import check_room, format_bytes
from reasonmech.errors import OutputError
from reasonmech.files import MARK, MARK_FILE, atomic_write, check_new, new_directory, partial_of, write_text


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


@pytest.mark.parametrize("name", ["plan.json", "stages"])
def test_what_somebody_can_still_finish_is_not_removed(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    theirs = partial_of(out) / name
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


def test_a_file_keeps_its_old_content_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_text(file, "old")
    with pytest.raises(ZeroDivisionError), atomic_write(file) as unfinished:
        unfinished.write_text("ne")
        raise ZeroDivisionError
    assert file.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["file"]
    with atomic_write(file) as unfinished:
        unfinished.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"


def test_a_folder_is_replaced_by_a_whole_one_and_what_a_kill_left_of_it_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "stages" / "one"
    (tmp_path / "stages" / "one.unfinished").mkdir(parents=True)
    (tmp_path / "stages" / "one.unfinished" / "half").touch()
    for name in ("a", "b"):
        with atomic_write(folder) as unfinished:
            unfinished.mkdir()
            (unfinished / name).write_text(name)
        assert [path.name for path in folder.iterdir()] == [name]


def test_a_file_is_flushed_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("fsync"), fsync(file)))
    monkeypatch.setattr(Path, "replace", lambda path, to: (order.append("rename"), replace(path, to))[1])
    write_text(tmp_path / "file", "text")
    assert order == ["fsync", "rename"]


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (999.7, "1 kB"),
        (2_560_000_000, "2.56 GB"),
        (999_999, "1 MB"),
        (3e15, "3e+03 TB"),
    ],
)
def test_a_size_has_three_digits_and_a_unit(n: float, words: str) -> None:
    assert format_bytes(n) == words


def test_room_that_is_missing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasonmech.disk.free_bytes", lambda path: 1000)
    check_room(tmp_path, 1000, do="")
    with pytest.raises(OutputError, match=r"2 kB are to be written to .* 1 kB are free: 1 kB are missing"):
        check_room(tmp_path / "not there yet", 2000, do="make room")


@pytest.mark.parametrize("left", [b"", MARK[:9]])
def test_a_mark_that_a_kill_cut_off_blocks_nobody(left: bytes, tmp_path: Path) -> None:
    partial_of(tmp_path / "out").mkdir()
    (partial_of(tmp_path / "out") / MARK_FILE).write_bytes(left)
    with new_directory(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
