"""Only what bears our own mark is ever removed: a case for each kind of thing, and a list of all calls that
remove something."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

import reasonmech as rm
from reasonmech.causal.sweeps import grid, sweep
from reasonmech.coders import train_coders
from reasonmech.coders.source import TensorSource
from reasonmech.errors import ReasonmechError
from reasonmech.experiments.pair_coder import train_pair_coder
from reasonmech.experiments.store import open_store
from reasonmech.files import LEFTOVER_FILE, PLAN_FILE, atomic_write, partial_of
from reasonmech.organisms import building
from reasonmech.organisms.recipes import recipes
from reasonmech.runtime import capture
from reasonmech.site import Site
from reasonmech.testing import tiny_coder, tiny_host
from tests.test_architecture import MODULES

HOST = tiny_host()
SITE = "resid_post.1"
CONFIG = rm.CoderConfig(architecture="topk", d_sae=8, k=2, steps=2, batch_size=32)
REMOVALS = {  # module -> how many calls remove a file or folder there, and whose it is
    "reasonmech.files": (15, "what is being written under a name that ends in ours, or bears the mark"),
    "reasonmech.resumable": (
        3,
        "a lock in a folder made a moment ago; half pieces of a directory with a plan",
    ),
    "reasonmech.experiments.coder_job": (1, "the folder .work, which holds our plan"),
    "reasonmech.experiments.stage_job": (1, "what a stage wrote into its own folder before it failed"),
    "reasonmech.experiments.store": (1, "pieces of a stage that is finished, in a partial run with our plan"),
    "reasonmech.coders.train": (1, "a coder in a directory with our plan, which is written again"),
    "reasonmech.organisms.adapters": (1, "the checkpoint of the training that has just ended"),
    "reasonmech.taxonomies.sae.taxonomy": (1, "the empty folder that new_directory has made"),
}


def removals(tree: ast.AST) -> int:
    """Calls of rmtree, unlink, rmdir, os.remove, and of our own `remove(path)`."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [
        f.attr for f in calls if isinstance(f, ast.Attribute) and f.attr in ("rmtree", "unlink", "rmdir")
    ]
    plain = [f.id for f in calls if isinstance(f, ast.Name) and f.id in ("remove", "rmtree")]
    system = [f for f in calls if isinstance(f, ast.Attribute) and ast.unparse(f) == "os.remove"]
    return len(named) + len(plain) + len(system)


def test_every_call_that_removes_something_is_known() -> None:
    counts = Counter({name: removals(ast.parse(path.read_text())) for name, path in MODULES.items()})
    assert {name: n for name, n in counts.items() if n} == {name: n for name, (n, _) in REMOVALS.items()}


def test_pieces_of_a_finished_stage_go_and_those_of_others_stay(tmp_path: Path) -> None:
    with open_store(tmp_path / "run", {"experiment": "mine"}) as store:
        mine, earlier, others = (
            store.work_path(*key) for key in (("judge", "a" * 64), ("judge", "b" * 64), ("judge-x", "a" * 64))
        )
        for folder in (mine, earlier, others):
            folder.mkdir(parents=True)
        with store.writing("judge", "a" * 64, {}) as folder:
            assert mine.exists() and folder.is_dir()
        assert not mine.exists() and not earlier.exists() and others.exists()


def coders(out: Path) -> None:
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    train_coders(TensorSource(x, (Site.parse(SITE),), "m", "0"), {"a": CONFIG}, out=out, progress=False)


def swept(out: Path) -> None:
    plans = grid({"v": rm.Direction.along(torch.ones(HOST.d_model), SITE)}, "steer", amounts=1.0)
    metric = rm.logit_diff(HOST, good=9, bad=12)
    sweep(HOST, ["w1 w2"], plans, metric=metric, out=out, progress=False)


def run(out: Path) -> None:
    with open_store(out, {"experiment": "mine"}) as store:
        store.complete()


def organism(out: Path) -> None:
    building.build("tiny-aa", out, recipe=replace(recipes.get("tiny-aa")), progress=False)


def pair_coder(out: Path) -> None:
    train_pair_coder(rm.load_pair("tiny-when"), CONFIG, site=SITE, out=out, problems=2, progress=False)


WRITERS: dict[str, Callable[[Path], object]] = {
    "capture": lambda out: capture(HOST, ["w1 w2"], [SITE], out=out, progress=False),
    "sweep": swept,
    "coders": coders,
    "run": run,
    "organism": organism,
    "coder": lambda out: tiny_coder(HOST).save(out),
    "coder of a pair": pair_coder,
    "judgement": lambda out: rm.judge("tiny-aa", n=59, out=out, progress=False),
}
MINE = (  # what a user may have where ours would be, named as ours are
    "thesis.tex",
    "stages/one/thesis.tex",
    "progress/thesis.tex",
    "shards/thesis.tex",
    "base-model.txt",
    "base-7b/thesis.tex",
    "base-0.safetensors",
    "thinking-stage0.safetensors",
    "base-1.failed",
    "thinking-notes.txt",
    "checkpoint/thesis.tex",
    "block-1/thesis.tex",
)


@pytest.fixture(autouse=True)
def nobody_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONMECH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("mine", MINE)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_of_somebody_elses_at_a_working_name_stays(writer: str, mine: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    places = (
        [partial_of(out), out.with_name("out.work")] if writer == "coder of a pair" else [partial_of(out)]
    )
    for place in places:
        (place / mine).parent.mkdir(parents=True)
        (place / mine).write_text("mine")
    with pytest.raises(ReasonmechError):
        WRITERS[writer](out)
    for place in places:
        assert (place / mine).read_text() == "mine"
        assert [path.name for path in place.iterdir()] == [Path(mine).parts[0]]
    assert not out.exists()


def test_a_file_in_a_directory_that_is_finished_stays(tmp_path: Path) -> None:
    """Leftovers are entries of its own that it lists; a foreign list names nothing beside it."""
    out = tmp_path / "out"
    swept(out)
    (out / "thesis.tex").write_text("mine")
    (tmp_path / "thesis.tex").write_text("mine")
    for listed in (
        ["../thesis.tex"],
        [str(tmp_path / "thesis.tex")],
        ["..", "", "."],
        {"thesis.tex": 1},
        "thesis.tex",
    ):
        (out / LEFTOVER_FILE).write_text(json.dumps(listed))
        swept(out)
        assert (out / "thesis.tex").read_text() == (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_link_is_removed_and_never_what_it_points_at(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    target = tmp_path / "ours" / "piece"
    target.parent.mkdir()
    target.with_name("piece.unfinished").symlink_to(tmp_path / "mine")
    with atomic_write(target) as unfinished:
        unfinished.mkdir()
    assert target.is_dir() and (tmp_path / "mine" / "thesis.tex").read_text() == "mine"


def test_a_stage_that_fails_takes_its_own_folder_alone(tmp_path: Path) -> None:
    stages = tmp_path / "stages"
    for name in ("one", "two"):
        (stages / name).mkdir(parents=True)
        (stages / name / "result").write_text("1")
    import_module("reasonmech.experiments.stage_job")._write_lost(
        stages / "two", "two", rm.errors.DataError("nothing to see")
    )
    assert (stages / "one" / "result").is_file() and not (stages / "two" / "result").exists()


def test_a_plan_of_ours_is_what_makes_a_folder_ours(tmp_path: Path) -> None:
    """With our plan in it a partial directory is gone on with; without, it is somebody's."""
    out = tmp_path / "out"
    partial_of(out).mkdir()
    (partial_of(out) / PLAN_FILE).write_text(json.dumps({"mine": 1}))
    (partial_of(out) / "thesis.tex").write_text("mine")
    with pytest.raises(ReasonmechError):
        swept(out)
    assert (partial_of(out) / "thesis.tex").read_text() == "mine"
