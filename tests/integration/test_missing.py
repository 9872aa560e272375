"""Nothing that was asked for is missing without a line: the run goes on, and says what failed and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import reasonmech as rm
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.experiments import Run, load_run
from reasonmech.experiments.config import load_experiment
from reasonmech.experiments.ledger import Cause, Ledger, missing_table
from reasonmech.experiments.tables import MISSING_FILE
from reasonmech.hosts import ModelPair
from reasonmech.report import render
from tests.made_run import make_run

PLANTED = DataError("planted <i>failure</i>", allowed="none", do="pull it out")
STAGES = "reasonmech.experiments.stages."


def fail(*_: object, **__: object) -> object:
    raise PLANTED


def fail_first(real: Callable[..., object]) -> Callable[..., object]:
    """The first call fails, the others do what they do."""
    calls: Iterator[bool] = iter((True,))

    def once(*args: object, **kwargs: object) -> object:
        return fail() if next(calls, False) else real(*args, **kwargs)

    return once


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return rm.load_pair("tiny-when")


def test_what_is_missing_stands_before_the_results_of_a_report(tmp_path: Path) -> None:
    ledger, run = Ledger(), make_run(tmp_path / "made")
    with ledger.attempt("search", "auroc of <b>step</b>"):
        fail()
    missing_table({"locate": ledger}).to_parquet(run.path / MISSING_FILE)
    page = render(load_run(run.path))
    assert page.index('<section id="missing"') < page.index('<section id="recovery-by-arm"')
    assert "auroc of &lt;b&gt;step&lt;/b&gt;" in page and "<b>step" not in page
    assert "planted &lt;i&gt;failure" in page and "<i>failure" not in page


def test_a_stage_that_is_lost_takes_only_those_that_read_it(
    pair: ModelPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{STAGES}coders.TrainCoders._activations", fail)
    stages = "stages=[{kind: rollouts, n: 8, samples: 1, study_samples: 1}, {kind: coders}, {kind: locate}]"
    experiment = load_experiment("smoke", ["task.n=8", "decode.max_new_tokens=110", stages])
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
