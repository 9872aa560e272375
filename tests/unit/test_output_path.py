"""Whatever path a writer is given, it is written, or refused in three parts; nothing of others is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import reasonmech as rm
from reasonmech.errors import OutputError, ReasonmechError
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
CODER = tiny_coder(HOST)
ACTS = rm.capture(HOST, ["w1 w2"], ["resid_post.1"], progress=False)
ROLLOUTS = rm.generate(HOST, ["w1"], decode=rm.Decode(max_new_tokens=2), progress=False)
FOLDERS: dict[str, Callable[[str | Path], object]] = {
    "coder": CODER.save,
    "activations": ACTS.save,
    "capture": lambda out: rm.capture(HOST, ["w1 w2"], ["resid_post.1"], out=out, progress=False),
}
WRITERS = FOLDERS | {"rollouts": ROLLOUTS.save}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("n" * 300, "a name of 300 bytes"),
        ("\u00e9" * 120, "a name of 240 bytes"),
        ("x" * 300 + "/out", "a name of 300 bytes"),
        ("a\0b", "holds a NUL"),
        ("a\udc80b", "is no text"),
    ],
)
def test_a_name_that_no_disk_takes_is_refused(writer: str, name: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(ReasonmechError, match=f"{what}|which no disk can hold"):
        WRITERS[writer](f"{tmp_path}/{name}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("writer", WRITERS)
def test_a_home_that_nobody_has_is_refused(writer: str) -> None:
    with pytest.raises(OutputError, match="nobody here has the home ~nobody_of_this_name"):
        WRITERS[writer]("~nobody_of_this_name/out")


@pytest.mark.parametrize("writer", WRITERS)
def test_a_link_to_nothing_is_refused(writer: str, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    with pytest.raises(OutputError, match="is a link to"):
        WRITERS[writer](tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("writer", FOLDERS)
@pytest.mark.parametrize("holds", ["nothing", "a file", "a link to nothing", "a file of its name"])
def test_a_partial_that_is_no_folder_of_ours_is_left_alone(writer: str, holds: str, tmp_path: Path) -> None:
    others, partial = tmp_path / "others", tmp_path / "out.partial"
    if holds == "a file of its name":
        partial.write_text("mine")
    else:
        partial.symlink_to(others)
    if holds in ("nothing", "a file"):
        others.mkdir()
    if holds == "a file":
        (others / "mine").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match=r"out\.partial is a (link|file), which we never made"):
        FOLDERS[writer](tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("writer", WRITERS)
def test_paths_that_mean_a_place_are_written_there(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for path, place in (
        ("~/out", "home/out"),
        ("a/../b/out", "b/out"),
        ("slash/", "slash"),
        (f"{'n' * 200}", "n" * 200),
    ):
        WRITERS[writer](path)
        assert (tmp_path / place).exists()
