"""Only what bears our own mark is ever removed, no name leaves its folder, no save overwrites unasked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import reasonmech as rm
from reasonmech.errors import ConfigError, CorruptFileError, OutputError, UnknownNameError
from reasonmech.files import MARK, MARK_FILE, new_directory, partial_of, remove_leftovers
from reasonmech.paths import check_name, resolve
from reasonmech.testing import tiny_coder, tiny_host
from tests.disks import mounted

HOST = tiny_host()
TEXTS = ["w1 w2 w3", "w4 w5"]


def tree(path: Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def rollouts() -> rm.Rollouts:
    return rm.generate(HOST, TEXTS, decode=rm.Decode(max_new_tokens=3), progress=False)


def grid() -> rm.PatchGrid:
    metric = rm.logit_diff(HOST, good="w1", bad="w2")
    return rm.patch_grid(HOST, rm.TextPairs(["w1 w2"], ["w3 w2"]), ["resid_post.1"], metric=metric)


DIRECTORIES: dict[str, Callable[[Path], object]] = {
    "coder": lambda out: tiny_coder(HOST).save(out),
    "activations": lambda out: rm.capture(HOST, TEXTS, "resid_post.1", progress=False).save(out),
}
FILES: dict[str, Callable[..., object]] = {
    "rollouts": lambda out, **how: rollouts().save(out, **how),
    "grid": lambda out, **how: grid().to_parquet(out, **how),
    "view": lambda out, **how: rm.look(HOST, "w1 w2", tiny_coder(HOST), [3]).save(out, **how),
}


@pytest.mark.parametrize("kind", DIRECTORIES)
@pytest.mark.parametrize("name", ["base-0.safetensors", "thesis.tex", ".lock", MARK_FILE])
def test_a_folder_of_somebody_elses_beside_a_save_stays(kind: str, name: str, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    partial_of(out).mkdir()
    (partial_of(out) / name).write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=r"mine\.partial"):
        DIRECTORIES[kind](out)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", DIRECTORIES)
def test_what_a_killed_save_left_makes_room_for_the_next(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if not (child := os.fork()):
        with new_directory(out) as partial:
            (partial / "half").write_text("half")
            os._exit(9)
    os.waitpid(child, 0)
    assert (partial_of(out) / MARK_FILE).read_bytes() == MARK
    DIRECTORIES[kind](out)
    DIRECTORIES[kind](tmp_path / "undisturbed")
    assert sorted(tree(out)) == sorted(tree(tmp_path / "undisturbed"))
    assert not partial_of(out).exists() and not (out / MARK_FILE).exists()


def test_an_empty_folder_of_that_name_is_what_a_kill_before_the_mark_leaves(tmp_path: Path) -> None:
    partial_of(tmp_path / "out").mkdir()
    DIRECTORIES["coder"](tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_an_empty_folder_in_which_the_mark_cannot_be_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fails)
    for there in (True, False):
        out = tmp_path / f"out-{there}"
        if there:
            partial_of(out).mkdir()
        with pytest.raises(OutputError, match="cannot write"), new_directory(out):
            raise AssertionError("the block must not start")
        assert partial_of(out).exists() == there


def test_two_saves_of_one_name_at_once_do_not_remove_each_others_files(tmp_path: Path) -> None:
    with new_directory(tmp_path / "out") as partial:
        (partial / "first").write_text("1")
        with pytest.raises(OutputError, match="another process is writing"):
            DIRECTORIES["coder"](tmp_path / "out")
    assert tree(tmp_path / "out") == {"first": b"1"}


def test_a_save_that_fails_leaves_nothing_half(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_directory(tmp_path / "out") as partial:
        (partial / "half").write_text("1")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_there_is_replaced_only_when_that_is_said(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "file"
    FILES[kind](out)
    first = out.read_bytes()
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"exists already[\s\S]*overwrite=True"):
        FILES[kind](out)
    assert out.read_bytes() == b"mine"
    FILES[kind](out, overwrite=True)
    assert len(out.read_bytes()) == len(first)
    assert [p.name for p in out.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("how", [{}, {"overwrite": True}])
def test_a_folder_is_never_replaced_by_a_file(kind: str, how: dict[str, bool], tmp_path: Path) -> None:
    out = tmp_path / "folder"
    out.mkdir()
    (out / "mine").write_text("mine")
    (tmp_path / "folder.unfinished").write_text("mine too")
    (tmp_path / "folder.partial").write_text("and mine")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="is a directory"):
        FILES[kind](out, **how)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", FILES)
def test_files_beside_a_save_stay(kind: str, tmp_path: Path) -> None:
    for end in (".unfinished", ".partial"):
        (tmp_path / f"out{end}").write_text("mine")
    FILES[kind](tmp_path / "out")
    assert {name for name, content in tree(tmp_path).items() if content == b"mine"} == {
        "out.unfinished",
        "out.partial",
    }


@pytest.mark.parametrize("kind", FILES | DIRECTORIES)
def test_a_full_disk_is_said_in_three_parts(kind: str, full_disk: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write[\s\S]*are free[\s\S]*make room") as caught:
        (FILES | DIRECTORIES)[kind](full_disk / "out")
    assert caught.value.do
    assert [p.name for p in full_disk.iterdir()] == ["fills"], "half a file takes what room there is"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB, with nothing free."""
    with mounted(tmp_path / "disk", 64) as disk:
        with contextlib.suppress(OSError):
            (disk / "fills").write_bytes(b"0" * 128 * 1024)
        yield disk


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "",
        " ",
        "a/b",
        "/a",
        "../a",
        "a\\b",
        ".hidden",
        "a\0",
        "a\nb",
        "x.partial",
        "plan.json",
        3,
        "record.json",
        "n" * 300,
        " a",
        "a ",
        "taken",
        "x.unfinished",
        None,
    ],
)
def test_a_name_that_is_no_name_of_a_file_inside_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"coder .*name of a file or folder"):
        check_name(name, what="coder", taken=["taken"])


@pytest.mark.parametrize("name", ["a", "topk-8", "lambda=0.1 (wide)", "ärm 2", "a.b", "..a"[2:], "n" * 200])
def test_other_names_are_taken(name: str) -> None:
    assert check_name(name, what="coder") == name


@pytest.mark.parametrize("name", ["../../hosts", "tiny-when/../..", "tiny-when/../tiny-when/base", "/etc"])
def test_the_name_of_an_organism_stays_among_the_organisms(name: str) -> None:
    with pytest.raises(UnknownNameError, match="organism"):
        resolve(f"organism:{name}")
    with pytest.raises(UnknownNameError, match="organism"):
        rm.load_host(f"organism:{name}")


def test_leftovers_are_removed_within_their_directory_only(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "shards").mkdir(parents=True)
    (tmp_path / "beside").write_text("mine")
    (out / "result").write_text("result")
    (out / ".leftover").write_text('["shards", "../beside", "..", ".lock"]')
    remove_leftovers(out)
    assert tree(tmp_path) == {"beside": b"mine", "out/result": b"result"}


DAMAGES: dict[str, Callable[[list[str]], list[str]]] = {
    "nothing": lambda lines: [],
    "another file": lambda lines: ['{"name": "a notebook", "cells": []}'],
    "a list": lambda lines: ["[1, 2]"],
    "a number": lambda lines: ["3"],
    "a row of numbers": lambda lines: [lines[0], "3", *lines[2:]],
    "text for ids": lambda lines: [lines[0], lines[1].replace('"ids": [', '"ids": ["w1", '), *lines[2:]],
    "a fraction for an id": lambda lines: [
        lines[0],
        lines[1].replace('"ids": [', '"ids": [1.5, '),
        *lines[2:],
    ],
    "a negative id": lambda lines: [lines[0], lines[1].replace('"ids": [', '"ids": [-1, '), *lines[2:]],
    "one flag too many": lambda lines: [
        lines[0],
        lines[1].replace('"steered": [', '"steered": [true, '),
        *lines[2:],
    ],
    "numbers for flags": lambda lines: [lines[0], lines[1].replace("false", "0"), *lines[2:]],
    "another stop": lambda lines: [lines[0], lines[1].replace('"length"', '"tired"'), *lines[2:]],
    "an unknown key": lambda lines: [lines[0], lines[1].replace('"text"', '"txt"'), *lines[2:]],
    "cut off": lambda lines: [*lines[:-1], lines[-1][:20]],
    "a row less": lambda lines: lines[:-1],
    "no utf-8": lambda lines: [lines[0], "\udcff"],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_foreign_or_damaged_rollouts_file_is_refused(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "rollouts.jsonl"
    rollouts().save(file)
    assert [r.ids for r in rm.Rollouts.load(file)] == [r.ids for r in rollouts()]
    lines = DAMAGES[damage](file.read_text().splitlines())
    file.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    with pytest.raises(CorruptFileError, match="rollout"):
        rm.Rollouts.load(file)
