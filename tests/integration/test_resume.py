"""A run that is killed at any moment resumes, and never looks complete before it is."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import textwrap
import time
from pathlib import Path

import pytest
import yaml

from reasonmech.errors import ConfigError, MismatchError, OutputError
from reasonmech.experiments import load_experiment, load_run, run
from tests.forks import Fork
from tests.integration.test_changed_on_disk import ANOTHER_MODEL, interrupted

STAGES = textwrap.dedent(
    """
    import os, time
    from typing import Literal
    from reasonmech.experiments import Condition, Stage
    from reasonmech.experiments.stages import stages

    @stages.register("quick")
    class Quick(Stage):
        kind: Literal["quick"] = "quick"
        text: str = "quick"

        def run(self, context):
            (context.out / "when.txt").write_text(str(time.time_ns()))
            base = Condition("base", "base")
            context.write_conditions([base])
            context.write_results([base.rows("accuracy", [0.5, 1.0], unit="share", problems=["p0", "p1"])])
            context.write_generations([{"text": "<b>hello</b>"}])
            (context.out / "keep").mkdir()
            (context.out / "keep" / "kept.txt").write_text(self.text)

    @stages.register("slow")
    class Slow(Stage):
        needs = ("quick",)
        kind: Literal["slow"] = "slow"

        def run(self, context):
            (context.out / "half.txt").write_text("half")
            if "WAIT" in os.environ:
                time.sleep(60)
            (context.out / "keep").mkdir()
            (context.out / "keep" / "seen.txt").write_text((context.of("quick") / "when.txt").read_text())
    """
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A pair of random models on disk, a configuration, and a script that runs it with two stages of its
    own."""
    from reasonmech.testing import tiny_host

    for side, seed in (("base", 0), ("thinking", 1)):
        host = tiny_host(seed=seed)
        host.model.save_pretrained(tmp_path / "pair" / side)
        host.tokenizer.save_pretrained(tmp_path / "pair" / side)
    config = {
        "name": "trial",
        "pair": str(tmp_path / "pair"),
        "task": {"kind": "chain", "n": 2},
        "stages": [{"kind": "quick"}, {"kind": "slow"}],
    }
    (tmp_path / "trial.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "fake_stages.py").write_text(STAGES)
    (tmp_path / "go.py").write_text(
        "import fake_stages\nfrom reasonmech.experiments import run\nrun('trial.yaml', out='out', "
        "progress=False)\n"
    )
    return tmp_path


@pytest.fixture
def fake_stages(project: Path, monkeypatch: pytest.MonkeyPatch):
    """The same two stages in this process, forgotten afterwards."""
    from reasonmech.experiments.stages import stages

    monkeypatch.setattr(stages, "_entries", dict(stages._entries))
    monkeypatch.syspath_prepend(project)
    monkeypatch.delitem(sys.modules, "fake_stages", raising=False)
    importlib.import_module("fake_stages")
    monkeypatch.chdir(project)


def test_kill_9_in_a_stage_then_resume(project: Path) -> None:
    process = Fork(project, "go.py", WAIT="1")
    half = project / "out.partial/stages/slow.unfinished/half.txt"
    for _ in range(600):
        if half.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    assert half.exists(), process.said()

    assert "another process is writing" in Fork(project, "go.py").said()

    assert process.kill(signal.SIGKILL) == -signal.SIGKILL
    assert not (project / "out").exists()
    with pytest.raises(OutputError, match=r"not finished.*quick"):
        load_run(project / "out")
    first = (project / "out.partial/stages/quick/when.txt").read_text()

    Fork(project, "go.py").finish()
    finished = load_run(project / "out")
    assert (finished.path / "seen.txt").read_text() == first, "the finished stage was computed again"
    assert not (project / "out.partial").exists()
    assert not (finished.path / "stages").exists()
    assert len(finished.results) == 2


def test_a_changed_setting_redoes_its_stage_and_those_after_it(project: Path, fake_stages: None) -> None:
    os.environ.pop("WAIT", None)
    experiment = load_experiment("trial.yaml")
    first = run(experiment, out="a", progress=False)
    seen = (first.path / "seen.txt").read_text()
    changed = load_experiment("trial.yaml", ["stages.quick.text=other"])
    second = run(changed, out="b", progress=False)
    assert (second.path / "kept.txt").read_text() == "other"
    assert (second.path / "seen.txt").read_text() != seen


def test_nothing_half_written_between_assembly_and_rename(
    project: Path, fake_stages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reasonmech.experiments.store import RunStore

    def die(self: RunStore) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunStore, "complete", die)
        with pytest.raises(KeyboardInterrupt):
            run("trial.yaml", out="out", progress=False)
    with pytest.raises(OutputError, match="not finished"):
        load_run("out")
    assert len(run("trial.yaml", out="out", progress=False).results) == 2


def test_the_record_says_what_one_needs_to_doubt_it(project: Path, fake_stages: None) -> None:
    finished = run("trial.yaml", out="out", progress=False)
    record = finished.record
    assert record["pair"]["base"]["weights_sha256"] != record["pair"]["thinking"]["weights_sha256"]
    assert record["packages"]["torch"] and record["code_sha256"] and record["command"]
    assert [c["name"] for c in record["conditions"]] == ["base"]
    assert set(record["stages"]) == {"quick", "slow"}
    assert finished.config["decode"]["temperature"] == 0.0, "defaults are filled in"
    assert not list(finished.path.rglob("*.pkl")) and not list(finished.path.rglob("*.pt"))


@pytest.mark.parametrize("exists", ["directory", "file"])
def test_an_output_that_exists_is_refused(project: Path, fake_stages: None, exists: str) -> None:
    (project / "out").mkdir() if exists == "directory" else (project / "out").write_text("")
    with pytest.raises(OutputError, match="exists already"):
        run("trial.yaml", out="out", progress=False)


def test_an_output_that_cannot_be_written_is_refused(project: Path, fake_stages: None) -> None:
    (project / "file").write_text("")
    with pytest.raises(OutputError):
        run("trial.yaml", out="file/below/out", progress=False)


def test_a_stage_before_the_one_it_needs_is_refused(project: Path, fake_stages: None) -> None:
    with pytest.raises(ConfigError, match="needs quick before it"):
        load_experiment("trial.yaml", ["stages=[{kind: slow}, {kind: quick}]"])


@pytest.mark.parametrize("edit", ANOTHER_MODEL)
def test_an_interrupted_run_notices_files_of_a_model_that_were_edited(
    edit: str, project: Path, fake_stages: None
) -> None:
    interrupted(lambda: run("trial.yaml", out="out", progress=False))
    ANOTHER_MODEL[edit](project / "pair" / "base")
    # a pair whose ends of text differ is refused before its run is looked at
    refused = MismatchError if edit == "generation_config.json" else OutputError
    with pytest.raises(refused, match=r"ends of text .*'w3'|another base model: its weights, configuration"):
        run("trial.yaml", out="out", progress=False)
    assert (project / "out.partial").is_dir(), "nothing was lost"
