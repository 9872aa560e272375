"""Stores, sweeps, runs, coders and organisms meet the same abuses, and lose and mix nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from reasonmech.causal.sweeps import grid, sweep
from reasonmech.coders import CoderConfig, train_coders
from reasonmech.coders.source import TensorSource
from reasonmech.errors import CorruptFileError, OutputError
from reasonmech.experiments.store import open_store
from reasonmech.files import PLAN_FILE, atomic_write, partial_of
from reasonmech.interventions import Direction
from reasonmech.metrics import logit_diff
from reasonmech.organisms import building
from reasonmech.organisms.recipes import recipes
from reasonmech.resumable import LOCK_FILE, ResumableDirectory, only_writer
from reasonmech.runtime import Activations, Keep, capture
from reasonmech.site import Site
from reasonmech.testing import tiny_host
from tests.disks import mounted

HOST = tiny_host()
SITE = "resid_post.1"
TEXTS = [f"w{i} w{i + 1} w{i + 2}" for i in range(8)]
ROWS = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
CONFIG = CoderConfig(architecture="topk", d_sae=8, k=2, steps=6, batch_size=32, checkpoint_every=2)


class User(NamedTuple):
    """Writes into a directory; `other` by another plan, whose `key` is named."""

    write: Callable[[Path], object]
    other: Callable[[Path], object]
    key: str


def store(out: Path, texts: list[str] = TEXTS) -> Activations:
    return capture(HOST, texts, [SITE], out=out, keep=Keep(shard_tokens=6), progress=False)


def swept(out: Path, amount: float = 1.0) -> object:
    v = Direction.along(torch.ones(HOST.d_model), SITE)
    plans, metric = grid({"v": v}, "steer", amounts=amount), logit_diff(HOST, good=9, bad=12)
    return sweep(HOST, TEXTS, plans, metric=metric, out=out, progress=False)


def run(out: Path, experiment: str = "trial") -> None:
    with open_store(out, {"experiment": experiment}) as stages:
        if not stages.finished("one", "inputs"):
            with stages.writing("one", "inputs", {}) as folder:
                (folder / "result").write_text("1")
        (stages.partial / "results").write_text((stages.stage_path("one") / "result").read_text())
        stages.complete()


def coders(out: Path, seed: int = 0) -> object:
    config = CONFIG.model_copy(update={"seed": seed})
    source = TensorSource(ROWS, (Site.parse(SITE),), "made", "0")
    return train_coders(source, {"small": config}, out=out, progress=False)


def organism(out: Path, task: str = "chain") -> Path:
    return building.build("tiny-aa", out, recipe=replace(recipes.get("tiny-aa"), task=task), progress=False)


USERS = {
    "store": User(store, lambda out: store(out, TEXTS[:-1]), "other texts"),
    "sweep": User(swept, lambda out: swept(out, 2.0), "configurations.v"),
    "run": User(run, lambda out: run(out, "another"), "experiment: trial, now another"),
    "coders": User(coders, lambda out: coders(out, 1), "coders.small.*seed: 0, now 1"),
    "organism": User(organism, lambda out: organism(out, "chain-swap"), "recipe.task: chain, now chain-swap"),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The threads of a pool do not live on in a fork."""
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)


@pytest.fixture(autouse=True)
def quick_organism(monkeypatch: pytest.MonkeyPatch) -> None:
    """An organism whose models and truth cost nothing."""

    def written(name: str, recipe: object, directory: ResumableDirectory, **_: object) -> dict[str, object]:
        for role in ("base", "thinking"):
            checkpoint = directory.path(f"{role}-0.safetensors")
            if not checkpoint.exists():
                metadata = {"step": "1", "recipe": "{}", "log": role}
                with atomic_write(checkpoint) as unfinished:
                    unfinished.write_bytes(save({"model.w": torch.zeros(1)}, metadata=metadata))
            with directory.piece(role) as unfinished:
                unfinished.mkdir()
                with safe_open(checkpoint, framework="pt") as file:
                    (unfinished / "weights").write_text(file.metadata()["log"])
        return {"requirements": []}

    monkeypatch.setattr(building, "_build", written)


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest) -> User:
    return USERS[request.param]


def contents(directory: Path) -> dict[str, bytes]:
    """Files with their content; times of a record aside."""
    files = {p.relative_to(directory).as_posix(): p for p in directory.rglob("*") if p.is_file()}
    return {name: b"" if name == "record.json" else path.read_bytes() for name, path in files.items()}


UNDISTURBED: dict[str, dict[str, bytes]] = {}  # of each user, by its key


@pytest.fixture
def undisturbed(user: User, one_thread: None, tmp_path: Path) -> dict[str, bytes]:
    """What a user writes that nothing happens to."""
    if user.key not in UNDISTURBED:
        user.write(tmp_path / "undisturbed")
        files = contents(tmp_path / "undisturbed")
        assert files and LOCK_FILE not in files
        UNDISTURBED[user.key] = files
    return UNDISTURBED[user.key]


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def kill_at_rename(monkeypatch: pytest.MonkeyPatch, out: Path, error: BaseException) -> None:
    rename = Path.rename

    def renamed(path: Path, target: Path) -> Path:
        if target == out:
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", renamed)


def interrupted(user: User, out: Path) -> Path:
    """A partial directory with everything in it but its name."""
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        kill_at_rename(patched, out, Killed())
        user.write(out)
    assert not out.exists()
    return partial_of(out)


def test_a_second_writer_is_refused(user: User, tmp_path: Path) -> None:
    partial = partial_of(tmp_path / "out")
    partial.mkdir()
    with only_writer(partial), pytest.raises(OutputError, match="another process is writing"):
        user.write(tmp_path / "out")
    user.write(tmp_path / "out")


@pytest.mark.parametrize("left", [(), (LOCK_FILE,), (LOCK_FILE, f"{PLAN_FILE}.unfinished")])
def test_a_kill_before_there_was_a_plan_costs_nothing(
    user: User, undisturbed: dict[str, bytes], left: tuple[str, ...], tmp_path: Path
) -> None:
    partial = partial_of(tmp_path / "out")
    partial.mkdir()
    for name in left:
        (partial / name).write_text("{" if name != LOCK_FILE else "")
    user.write(tmp_path / "out")
    assert contents(tmp_path / "out") == undisturbed and not partial.exists()


def test_a_kill_before_the_name_loses_nothing(
    user: User, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    interrupted(user, tmp_path / "out")
    user.write(tmp_path / "out")
    assert contents(tmp_path / "out") == undisturbed and not partial_of(tmp_path / "out").exists()


def test_another_plan_is_refused_and_what_differs_is_named(user: User, tmp_path: Path) -> None:
    partial = interrupted(user, tmp_path / "out")
    before = contents(partial)
    with pytest.raises(OutputError, match=rf"part of another .*{user.key}"):
        user.other(tmp_path / "out")
    assert contents(partial) == before
    user.write(tmp_path / "out")


def test_a_damaged_plan_is_named(user: User, tmp_path: Path) -> None:
    plan = interrupted(user, tmp_path / "out") / PLAN_FILE
    whole = plan.read_text()
    for damaged in (whole[:9], "", '"a plan"'):
        plan.write_text(damaged)
        with pytest.raises(CorruptFileError, match=r"plan\.json is not JSON|plan\.json is no JSON object"):
            user.write(tmp_path / "out")
    plan.write_text(whole)
    user.write(tmp_path / "out")


def test_what_is_nobodys_part_is_left_alone(user: User, tmp_path: Path) -> None:
    partial = partial_of(tmp_path / "out")
    partial.mkdir()
    (partial / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match=r"it holds thesis\.tex, and no plan\.json"):
        user.write(tmp_path / "out")
    assert (partial / "thesis.tex").read_text() == "mine" and not (partial / PLAN_FILE).exists()


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_exists_is_not_overwritten(user: User, kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine") if kind == "file" else (out / "mine").mkdir(parents=True)
    with pytest.raises(OutputError):
        user.write(out)
    assert out.read_text() == "mine" if kind == "file" else [p.name for p in out.iterdir()] == ["mine"]
    assert not partial_of(out).exists()


@pytest.mark.parametrize("parent", ["file", "/proc/nothing"])
def test_a_parent_that_cannot_be_written_is_refused(user: User, parent: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be"):
        user.write(tmp_path / parent / "out")


def test_a_disk_that_is_full_while_it_completes_costs_nothing(
    user: User, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patched:
        kill_at_rename(patched, out, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OutputError, match=r"the disk is full[\s\S]*it goes on where it stopped"):
            user.write(out)
    assert not out.exists()
    user.write(out)
    assert contents(out) == undisturbed


def test_what_the_old_code_left_is_gone_on_with(
    undisturbed: dict[str, bytes], user: User, tmp_path: Path
) -> None:
    """Runs and organisms had no plan then, and half files ended in `.partial`."""
    partial = interrupted(user, tmp_path / "out")
    if user in (USERS["run"], USERS["organism"]):
        (partial / PLAN_FILE).unlink()
    (partial / "acts-00000.safetensors.partial").write_text("half")
    if user is USERS["run"]:
        (partial / "stages" / "two.unfinished").mkdir()
    if user is USERS["organism"]:
        (partial / "acts-00000.safetensors.partial").rename(partial / "base-1.partial")
    user.write(tmp_path / "out")
    assert contents(tmp_path / "out") == undisturbed


def sizes(directory: Path) -> dict[str, int]:
    """Of every file but locks, which name their process."""
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != LOCK_FILE)
    return {path.relative_to(directory).as_posix(): path.stat().st_size for path in files}


def before_each_change(patched: pytest.MonkeyPatch, act: Callable[[int], object]) -> None:
    """Call `act` with n right before the n-th rename or removal."""
    numbers = count()

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def called(*args: object, **kwargs: object) -> object:
            act(next(numbers))
            return call(*args, **kwargs)

        return called

    for owner, name in ((Path, "rename"), (Path, "replace"), (Path, "unlink"), (os, "rmdir"), (os, "unlink")):
        patched.setattr(owner, name, counted(getattr(owner, name)))


def killed_before(n: int, user: User, out: Path) -> None:
    """End a process that writes, as kill -9 does, right before its n-th rename or removal."""
    if not (child := os.fork()):
        try:
            before_each_change(pytest.MonkeyPatch(), lambda i: os._exit(9) if i == n else None)
            user.write(out)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_death_before_any_rename_or_removal_costs_nothing(
    user: User, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """The next call completes it, or says that it is complete; no working file is left.

    What a death leaves is what lies there at that moment: one run is copied before each of its changes, and
    one process is really killed, to see that it leaves what was copied.
    """
    whole, deaths = tmp_path / "whole", []
    whole.mkdir()

    def copied(n: int) -> None:
        deaths.append(shutil.copytree(whole, tmp_path / str(n)))

    with pytest.MonkeyPatch.context() as patched:
        before_each_change(patched, copied)
        user.write(whole / "out")
    assert len(deaths) > 3
    really, n = tmp_path / "really", len(deaths) // 2
    really.mkdir()
    killed_before(n, user, really / "out")
    assert sizes(really) == sizes(deaths[n])
    for number, parent in enumerate((*deaths, really)):
        try:
            user.write(parent / "out")
        except OutputError as error:
            assert "exists already" in str(error)
        assert contents(parent / "out") == undisturbed, f"after a death before number {number}"
        assert [path.name for path in parent.iterdir()] == ["out"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    with mounted(tmp_path / "disk", 256) as disk:
        yield disk


@pytest.mark.parametrize("free", [0, 4, 12, 24, 40])
def test_a_disk_that_is_full_at_any_moment_costs_nothing_but_another_call(
    user: User, undisturbed: dict[str, bytes], small_disk: Path, free: int
) -> None:
    fills = small_disk / "fills"
    fills.write_bytes(b"0" * 1024 * (256 - free - 4))
    if free == 0:
        with suppress(OSError):
            fills.write_bytes(b"0" * 1024 * 300)
    try:
        user.write(small_disk / "out")
    except OutputError as error:
        assert error.do and ("full" in str(error) or "are free" in str(error))
    else:
        assert free, "nothing can be written where nothing is free"
    fills.unlink()
    if not (small_disk / "out").exists():
        user.write(small_disk / "out")
    assert contents(small_disk / "out") == undisturbed
    assert [path.name for path in small_disk.iterdir()] == ["out"]
