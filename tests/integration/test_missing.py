"""Nothing that was asked for is missing without a line: the run goes on, and says what failed and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import reasonmech as rm
from reasonmech.cli.app import app
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.experiments import Run, load_run
from reasonmech.experiments.config import Experiment, load_experiment
from reasonmech.experiments.ledger import Cause, Ledger, missing_table
from reasonmech.experiments.stages import StageContext
from reasonmech.experiments.tables import MISSING_FILE
from reasonmech.hosts import ModelPair
from reasonmech.report import render
from reasonmech.tasks import load_task
from tests.made_run import make_run
from tests.outside_pair import write_outside_pair

PLANTED = DataError("planted <i>failure</i>", allowed="none", do="pull it out")
STAGES = "reasonmech.experiments.stages."
FEW = "stages.arms.vectors.min_count=4"  # disagreements of a category: so few texts have 7 about a backtrack


def fail(*_: object, **__: object) -> object:
    raise PLANTED


def fail_first(real: Callable[..., object]) -> Callable[..., object]:
    """The first call fails, the others do what they do."""
    calls: Iterator[bool] = iter((True,))

    def once(*args: object, **kwargs: object) -> object:
        return fail() if next(calls, False) else real(*args, **kwargs)

    return once


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # float32: a CPU without instructions for bfloat16 takes seven times as long for it
    return write_outside_pair(tmp_path_factory.mktemp("pair"), dtype=torch.float32, bos_row="<pad>")


@pytest.fixture(scope="module")
def pair(file: Path) -> ModelPair:
    return rm.load_pair(file)


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return load_experiment("smoke", [FEW])


@pytest.fixture(scope="module")
def folders(
    pair: ModelPair, experiment: Experiment, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Every stage, done: kind -> folder."""
    top, done = tmp_path_factory.mktemp("stages"), {}
    for kind in [stage.kind for stage in experiment.stages]:
        done[kind] = top / kind
        carry_out(kind, pair, experiment, done, top / kind)
        assert not Ledger.read(top / kind).missing(), kind
    return done


def carry_out(kind: str, pair: ModelPair, experiment: Experiment, done: dict[str, Path], out: Path) -> Ledger:
    stage = next(stage for stage in experiment.stages if stage.kind == kind)
    out.mkdir(exist_ok=True)
    task = experiment.task
    problems = load_task(task.kind, n=task.n, seed=task.seed, split=task.split)
    context = StageContext(pair, problems, experiment.decode, 0, out, progress=False, finished=done)
    stage.run(context)
    return Ledger.read(out)


PLANTINGS = [
    # stage, what fails, whether always, part of an item that is missing then
    ("coders", "coders.train_coder", True, "topk/resid_post.2"),
    ("locate", "locate.labels_among", False, "auroc of step among opportunities of base text by topk"),
    ("locate", "locate.locate", False, "auroc of step among opportunities of base text by topk"),
    ("compare", "compare.compare_detectors", True, "comparison of detectors of check in topk"),
    ("groups", "feature_groups.at_opportunities", False, "step"),
    ("groups", "group_search.select", False, "features of topk/resid_post.2 ranked among opportunities"),
    ("groups", "fitting_trials.draw_controls", False, "of topk/resid_post.2 for step"),
    ("groups", "fitting_trials.onset_ids", True, "check"),
    ("kept", "preservation.behaviour_preservation", False, "hazard of step under reconstruction"),
    ("study", "dose_response.draw_controls", True, "clamp step located x2 in base at opportunities"),
    ("study", "dose_response.onset_ids", False, "base step at opportunities"),
    ("study", "dose_response.respond", False, "base step at opportunities"),
    ("arms", "arm_vectors.train_draws", True, "full"),
    ("arms", "arm_vectors.train_draws", True, "random_positions"),
    ("arms", "clamped.clamped_groups", True, "clamp"),
    ("arms", "clamped.tuning_problems", True, "clamp"),
]


@pytest.mark.parametrize(("kind", "what", "always", "item"), PLANTINGS)
def test_what_fails_has_a_line_with_its_first_cause(
    folders: dict[str, Path],
    pair: ModelPair,
    experiment: Experiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    what: str,
    always: bool,
    item: str,
) -> None:
    module, name = what.rsplit(".", 1)
    target = f"{STAGES}{module}.{name}"
    real = getattr(__import__(f"{STAGES}{module}", fromlist=[name]), name)
    monkeypatch.setattr(target, fail if always else fail_first(real))
    if kind == "arms":  # the one that fails, not all of them
        few = {
            "arms": ("base", "thinking", *(("clamp",) if item == "clamp" else ("full", "random_positions")))
        }
        stages = [s.model_copy(update=few) if s.kind == kind else s for s in experiment.stages]
        experiment = experiment.model_copy(update={"stages": tuple(stages)})
    ledger = carry_out(kind, pair, experiment, folders, tmp_path / kind)
    lines = [row for row in ledger.missing() if item in row["item"]]
    assert lines, ledger.missing()
    for row in ledger.missing():
        assert PLANTED.happened in row["happened"] and row["do"] == PLANTED.do, row


def test_what_is_missing_stands_before_the_results_of_a_report(tmp_path: Path) -> None:
    ledger, run = Ledger(), make_run(tmp_path / "made")
    with ledger.attempt("search", "auroc of <b>step</b>"):
        fail()
    missing_table({"locate": ledger}).to_parquet(run.path / MISSING_FILE)
    page = render(load_run(run.path))
    assert page.index('<section id="missing"') < page.index('<section id="recovery-by-arm"')
    assert "auroc of &lt;b&gt;step&lt;/b&gt;" in page and "<b>step" not in page
    assert "planted &lt;i&gt;failure" in page and "<i>failure" not in page


def test_without_any_search_the_other_arms_still_run(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locating fails; the run ends all the same, and report and command line say what it lacks."""
    monkeypatch.setattr(f"{STAGES}locate.labels_among", fail)
    out = tmp_path / "run"
    settings = ["--set", f"pair={file}", "--set", FEW]
    ended = CliRunner().invoke(app, ["run", "smoke", "--out", str(out), "--quiet", *settings])
    finished = load_run(out)
    missing = finished.missing.set_index("item")
    assert ended.exit_code == 3, ended.output
    assert f"finished with {len(missing)} of {finished.n_planned} things missing" in ended.output
    arms = set(finished.results.query("metric == 'accuracy'").condition)
    assert arms == {"base", "thinking", "full", "takeover", "random_category"} | {
        "random_vectors",
        "random_positions",
    }
    assert {"clamp", "step", "hazard of step under reconstruction"} <= set(missing.index)
    assert missing.happened.str.contains("planted", regex=False).all()
    assert set(missing["do"]) == {PLANTED.do} and "train larger coders" not in ended.output
    assert set(finished.results.query("metric == 'onset_probability'").condition) == {
        "base step at opportunities",
        "base step elsewhere",
        "thinking step at opportunities",
        "base check at opportunities",
        "base check elsewhere",
        "thinking check at opportunities",
    }
    page = render(finished)
    assert 'id="missing"' in page and "planted &lt;i&gt;failure" in page


def test_a_stage_that_is_lost_takes_only_those_that_read_it(
    pair: ModelPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{STAGES}coders.TrainCoders._activations", fail)
    experiment = load_experiment("smoke", ["stages=[{kind: rollouts, n: 8}, {kind: coders}, {kind: locate}]"])
    finished = rm.run(experiment, pair=pair, out=tmp_path / "run", progress=False)
    missing = finished.missing.set_index("item")
    assert {"stage coders", "stage locate"} == set(missing.index) - set(
        missing.index[missing.part != "stage"]
    )
    assert missing.happened["stage locate"] == f"stage coders is missing: {PLANTED.happened}"
    assert not finished.results.empty and finished.value("onset_rate:step", "thinking text") > 0


def test_where_every_stage_is_lost_the_first_cause_is_the_error(
    pair: ModelPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{STAGES}rollouts.generate", fail)
    experiment = load_experiment("smoke")
    for _ in range(2):  # started again it says the same
        with pytest.raises(DataError, match="planted") as caught:
            rm.run(experiment, pair=pair, out=tmp_path / "run", progress=False)
        assert caught.value.do == PLANTED.do


@pytest.mark.parametrize(
    "override",
    [
        "stages.locate.behaviours=[step, chek]",
        "stages.locate.searches=[{behaviours: [chek]}]",
        "stages.groups.sizes={chek: 1}",
        "stages.compare.behaviours=[chek]",
        "stages.rollouts.behaviours=[chek]",
        "stages.arms.site=resid_post.40",
        "stages.coders.configs={topk: [resid_post.40]}",
    ],
)
def test_a_name_that_there_is_not_is_refused_before_any_stage_runs(
    pair: ModelPair, tmp_path: Path, override: str
) -> None:
    with pytest.raises(UnknownNameError, match=r"chek|resid_post\.40"):
        rm.run("smoke", pair=pair, out=tmp_path / "run", overrides=[override], progress=False)
    assert not list(tmp_path.iterdir())


def test_a_ledger_keeps_the_first_cause_and_counts_what_was_planned(tmp_path: Path) -> None:
    ledger = Ledger()
    with ledger.attempt("search", "a", "b"):
        with ledger.attempt("search", "a"):
            raise DataError("first", do="this")
        raise DataError("second", do="that")
    with ledger.attempt("search", "c"):
        pass
    ledger.write(tmp_path)
    read = Ledger.read(tmp_path)
    assert read.counts() == {"search": 3} and read.planned("search") == ["a", "b", "c"]
    causes = {name: read.cause("search", name) for name in "abc"}
    assert causes["a"] == Cause("DataError", "first", do="this") and causes["c"] is None
    assert causes["b"] is not None and causes["b"].happened == "second"
    assert read.first_cause("search") == replace(causes["a"], happened="a is missing: first")
    with pytest.raises(ValueError, match="not of the data"), ledger.attempt("search", "d"):
        raise ValueError("not of the data")


def test_old_runs_have_nothing_missing_and_do_not_say_of_how_much(tmp_path: Path) -> None:
    run: Run = make_run(tmp_path / "made")
    assert isinstance(run.missing, pd.DataFrame) and run.missing.empty and run.n_planned is None
