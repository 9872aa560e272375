"""`reasonmech hybrid`: any pair, no coder, with budgets, side effects, texts; a bound on damage refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

import reasonmech as rm
from reasonmech.cli import hybrid as verb
from reasonmech.errors import ConfigError, ReasonmechError
from reasonmech.experiments import Experiment, Run, load_experiment
from reasonmech.experiments.store import RunStore
from reasonmech.files import PLAN_FILE
from reasonmech.report import report

SMALL = [
    "pair=tiny-forms",
    "task.kind=chain-forms",
    "task.n=8",
    "decode.max_new_tokens=95",  # cuts most thinking texts off, and not all
    "stages.rollouts.n=24",
    "stages.rollouts.samples=1",
    "stages.arms.trainings=0",
    "stages.arms.vectors={steps: 8}",
]
ARMS = "[base, thinking, full, takeover, {name: barred, executor: {kind: second_choice}, control_for: full}]"


def small(stages: tuple[str, ...], *more: str, arms: str = f"stages.arms.arms={ARMS}") -> Experiment:
    experiment = load_experiment("hybrid", [*SMALL, arms, *more])
    return experiment.model_copy(update={"stages": tuple(s for s in experiment.stages if s.kind in stages)})


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """What the run kept until it was complete."""
    return tmp_path_factory.mktemp("begun") / "run.partial"


def go_on(begun: Path, out: Path) -> Path:
    """`out`, where a run goes on that has written its rollouts, which are those of `run`."""
    partial = out.with_name(f"{out.name}.partial")
    shutil.copytree(begun / "stages" / "rollouts", partial / "stages" / "rollouts")
    shutil.copy(begun / PLAN_FILE, partial)
    return out


@pytest.fixture(scope="module")
def run(begun: Path, tmp_path_factory) -> Run:
    curves = "stages.budget.curves={rankings: [divergence], second_choice: [], shares: [0.5], draws: 1}"
    experiment = small(("rollouts", "arms", "budget"), "stages.budget.tuning=2", curves)
    complete = RunStore.complete

    def copied(self: RunStore) -> Path:
        shutil.copytree(self.partial, begun)
        return complete(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunStore, "complete", copied)
        return rm.run(experiment, out=tmp_path_factory.mktemp("hybrid") / "run", progress=False)


def test_a_hybrid_of_vectors_needs_no_coder(run: Run) -> None:
    assert [stage["kind"] for stage in run.config["stages"]] == ["rollouts", "arms", "budget"]
    conditions = {c["name"] for c in run.record["conditions"]}
    assert {"base", "thinking", "full", "takeover", "barred"} <= conditions
    with pytest.raises(ConfigError, match="coders, groups"):
        load_experiment("hybrid", [*SMALL, "stages.arms.arms=[base, thinking, clamp]"])


def test_its_tables_hold_budgets_places_texts_and_side_effects(run: Run) -> None:
    assert set(run.budget_points["writer"]) == {"base", "thinking"}
    ends = run.budget_points[run.budget_points["share"] == 1.0]
    takeover = run.value("accuracy", "takeover")
    assert set(ends.loc[(ends["writer"] == "base") & (ends["ranking"] == "random"), "accuracy"]) == {takeover}
    places = run.steered_places
    assert {"full", "takeover", "barred"} == set(places["condition"])
    barred = places[places["condition"] == "barred"]
    assert (barred["text"] != barred["instead"]).all()
    assert set(run.steered_texts["condition"]) == {"base", "full", "takeover", "thinking"}
    assert run.value("damage", "full") > 0 and run.value("dose", "full") > run.value("dose", "base") == 0
    assert run.value("surprise", "thinking") > 0 and run.value("surprise", "base") > 0
    damaged = run.results.loc[run.results["metric"] == "damage", "condition"]
    assert "takeover" not in set(damaged) and "barred" not in set(damaged)
    assert any(note.startswith("budget, base writes") for note in run.record["notes"])


def test_the_report_shows_them(run: Run) -> None:
    page = report(run).read_text()
    for section in ('id="budget"', 'id="texts"', 'id="side-effects"'):
        assert section in page


def test_drafts_write_the_same_tables(run: Run, begun: Path, tmp_path: Path) -> None:
    out = go_on(begun, tmp_path / "run")
    drafted = rm.run(small(("rollouts", "arms"), "stages.arms.draft=3"), out=out, progress=False)
    pd.testing.assert_frame_equal(drafted.steered_texts, run.steered_texts)
    for metric in ("accuracy", "percent_steered", "mean_length"):
        assert drafted.value(metric, "full") == run.value(metric, "full")


def test_an_arm_that_does_too_much_damage_or_never_closes_is_missing(
    run: Run, begun: Path, tmp_path: Path
) -> None:
    bound = run.value("damage", "full") / 2
    always = (
        "{name: always, gate: {kind: random, rate: 1.0}, executor: {kind: takeover}, control_for: takeover}"
    )
    arms = f"stages.arms.arms={ARMS[:-1]}, {always}]"
    experiment = small(("rollouts", "arms"), f"stages.arms.max_damage={bound}", arms=arms)
    refused = rm.run(experiment, out=go_on(begun, tmp_path / "run"), progress=False)
    (shut,) = refused.missing[refused.missing["item"] == "always"].to_dict("records")
    assert "its gate is always open" in shut["happened"]
    (row,) = refused.missing[refused.missing["item"] == "full"].to_dict("records")
    assert f"{run.value('damage', 'full'):.2f} nats" in row["happened"] and "max_damage" in row["allowed"]
    assert refused.value("accuracy", "takeover") == run.value("accuracy", "takeover")


def test_the_verb_takes_the_task_of_the_pair_unless_one_is_given(monkeypatch) -> None:
    carried = []
    monkeypatch.setattr(verb, "carry_out", lambda experiment, *_, **__: carried.append(experiment))
    verb.hybrid("tiny-forms")
    verb.hybrid("tiny-forms", overrides=["task.kind=chain", "task.n=7"])
    assert [e.task.kind for e in carried] == ["chain-forms", "chain"] and carried[1].task.n == 7
    assert {e.pair for e in carried} == {"tiny-forms"}
    with pytest.raises(ReasonmechError, match="tiny-forms"):
        verb.hybrid("tiny-form")


def test_the_published_forms_run_with_their_nulls(tmp_path: Path) -> None:
    arms = (
        "[base, thinking, full, one_vector, taxonomy, random_parts, mean_difference, guarded, random_vectors]"
    )
    vectors = "{form: scaled, keys: leaking, balanced: true, steps: 10, min_count: 4}"
    experiment = load_experiment(
        "hybrid-icml",
        [
            *SMALL[:3],
            "decode.max_new_tokens=70",
            *SMALL[4:-1],
            f"stages.arms.arms={arms}",
            f"stages.arms.vectors={vectors}",
            "stages.arms.partition={n: 3, steps: 20, batch_size: 32}",
            "stages.nulls.nulls=[vectors_norm]",
            "stages.nulls.draws=2",
            "stages.nulls.doses=[1.0]",
            "stages.nulls.problems=4",
            "stages.nulls.tuning=2",
        ],
    )
    made = rm.run(experiment, out=tmp_path / "run", progress=False)
    assert set(made.missing["stage"]) <= {"rollouts"}, made.missing["happened"].tolist()
    assert "scale.trunk.weight" in made.tensors() and len(made.nulls) == 1
    bits = {name: made.value("bits_choice", name) for name in ("full", "guarded")}
    steered = made.value("steered_per_problem", "guarded")
    assert bits["guarded"] > steered * 3.3 - 1e-6  # log2(10) more for every steered token
    for name in ("one_vector", "taxonomy", "random_parts", "mean_difference", "guarded"):
        assert made.value("damage", name) > 0
    places = made.steered_places.groupby("condition")["category"].agg(set)
    assert all(name.startswith("random/") for name in places["random_parts"])
    assert all(name.startswith("sentence_sae/") or name == "none" for name in places["taxonomy"])
