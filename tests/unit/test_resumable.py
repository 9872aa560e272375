"""A resumable directory tells its own plan from others, goes on after a kill, and appears when complete."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reasonmech.errors import CorruptFileError, OutputError
from reasonmech.files import PLAN_FILE, UNFINISHED, new_directory
from reasonmech.resumable import (
    LOCK_FILE,
    ResumableDirectory,
    begin,
    check_plan,
    differences,
    only_writer,
    read_plan,
)

PLAN = {"sites": ("a", "b"), "n": 3}  # JSON has no tuples


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_a_kill_left_is_told_from_what_others_left(tmp_path: Path) -> None:
    for name in (LOCK_FILE, f"{PLAN_FILE}{UNFINISHED}", "progress"):
        (tmp_path / name).touch()
    with pytest.raises(OutputError, match=r"is no capture: it holds progress, and no plan\.json"):
        begin(tmp_path, PLAN, kind="capture")
    assert read_plan(tmp_path) is None
    begin(tmp_path, PLAN, kind="capture", unplanned={"pro*"})
    assert read_plan(tmp_path) == {"sites": ["a", "b"], "n": 3}
    begin(tmp_path, PLAN, kind="capture")
    with pytest.raises(OutputError, match=r"part of another capture \(n: 3, now 4\)"):
        begin(tmp_path, PLAN | {"n": 4}, kind="capture")
    (tmp_path / PLAN_FILE).write_text("")
    with pytest.raises(CorruptFileError, match="not JSON"):
        begin(tmp_path, PLAN, kind="capture")


def test_pieces_stay_and_working_files_go(tmp_path: Path) -> None:
    directory = ResumableDirectory(tmp_path / "out", PLAN, kind="capture", working=["marks", "step-*"])
    for name in ("a", "b"):
        with pytest.raises(KeyboardInterrupt), directory.open():
            with directory.piece(f"marks/{name}") as unfinished:
                unfinished.touch()
            with directory.piece(name) as unfinished:
                unfinished.write_text(name)
            (directory.path(f"c{UNFINISHED}")).touch()
            (directory.path("step-3")).mkdir(exist_ok=True)
            raise KeyboardInterrupt
        assert not directory.out.exists()
    with directory.open():
        assert directory.complete({"n": 1}) == tmp_path / "out"
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["a", "b", PLAN_FILE, "record.json"]
    assert json.loads((tmp_path / "out" / "record.json").read_text()) == {"n": 1}
    with pytest.raises(OutputError, match="exists already"), directory.open():
        raise AssertionError("the block must not start")


def test_who_comes_second_leaves_nothing_where_the_first_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = ResumableDirectory(tmp_path / "out", PLAN, kind="capture")
    mkdir = Path.mkdir

    def late(path: Path, *args: object, **kwargs: object) -> None:
        mkdir(path, *args, **kwargs)  # pyright: ignore[reportArgumentType]
        if path == directory.partial and not directory.out.exists():
            mkdir(directory.out)

    monkeypatch.setattr(Path, "mkdir", late)
    with pytest.raises(OutputError, match="exists already"), directory.open():
        raise AssertionError("the block must not start")
    assert names(tmp_path) == ["out"]


def test_a_lock_is_let_go_and_its_file_locks_nobody_out(tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(OutputError, match="another process"), only_writer(tmp_path):
        raise AssertionError("the block must not start")
    assert (tmp_path / LOCK_FILE).exists()
    with only_writer(tmp_path):
        pass


def test_who_comes_second_is_told_who_is_writing_and_since_when(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from reasonmech.resumable import only_writer\n"
        "with only_writer(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    first = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    words = rf"another process is writing .*: process {first.pid} on \S+, since 20\d\d-\d\d-\d\d \d\d:\d\d"
    with pytest.raises(OutputError, match=words), only_writer(tmp_path):
        raise AssertionError("the block must not start")
    first.kill()
    first.wait()
    mine = rf"process {os.getpid()} on .*\(this process"  # and no line of the dead one is read for it
    with only_writer(tmp_path), pytest.raises(OutputError, match=mine), only_writer(tmp_path):
        raise AssertionError("the block must not start")
    assert (tmp_path / LOCK_FILE).read_text() == ""


def test_who_comes_second_to_a_save_is_told_the_same(tmp_path: Path) -> None:
    out, mine = tmp_path / "out", rf"process {os.getpid()} on"
    with new_directory(out), pytest.raises(OutputError, match=mine), new_directory(out):
        raise AssertionError("the block must not start")
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == []


def test_a_plan_of_other_arguments_says_what_differs_and_what_can_be_deleted(tmp_path: Path) -> None:
    begin(tmp_path, PLAN, kind="capture")
    with pytest.raises(OutputError) as error:
        begin(tmp_path, PLAN | {"n": 4}, kind="capture")
    message = str(error.value)
    assert "(n: 3, now 4)" in message and "the arguments that it was begun with" in message
    assert f"delete {tmp_path}, which we made" in message and "nothing was changed" in message


def test_a_directory_without_a_plan_is_no_finished_one(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no sweep"):
        check_plan(tmp_path, PLAN, kind="sweep")


def test_differences_are_dotted_keys_or_words_and_none_is_left_out() -> None:
    old = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert differences(old, old) == ""
    assert differences(old, {"a": {"b": 2, "c": [1]}, "d": 1, "e": 3}) == (
        "a.b: 1, now 2; a.c.1: 2, now (not there); e: (not there), now 3"
    )
    many = differences({"a": list(range(30))}, {"a": list(range(1, 31))})
    assert many.endswith("; and 10 more")
    words = {"a": "another a", "d": "another d"}
    assert differences(old, old | {"d": 2, "e": 3}, words=words) == "another d; e: (not there), now 3"
    assert differences(old, {}, words=words) == "another a; another d"
