"""The main path end to end on the shipped pair, at a size that only proves that every stage does its work,
and says what failed, and why, where something fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reasonmech.cli.app import app
from reasonmech.coders import load_coder
from reasonmech.experiments import Run, load_run, run
from reasonmech.experiments.config import Experiment, load_experiment
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages import StageContext
from reasonmech.experiments.stages.locate import LocateFeatures
from reasonmech.experiments.store import RunStore
from reasonmech.files import PLAN_FILE
from reasonmech.hosts import ModelPair, load_pair
from reasonmech.hybrid import ORDER
from reasonmech.report import render
from reasonmech.tasks import load_task
from tests.integration.test_missing import PLANTED, STAGES, fail, fail_first

N = 14  # problems
SMALL = [
    f"task.n={N}",
    "decode.max_new_tokens=110",  # cuts a few thinking texts off
    "stages.rollouts.n=40",
    "stages.rollouts.samples=4",
    "stages.rollouts.temperature=1.5",  # few texts of a base that hardly ever checks
    "stages.coders.steps=30",
    "stages.coders.documents=20",
    "stages.locate.rows=300",
    "stages.locate.draws=20",
    "stages.compare.rows=300",
    "stages.compare.draws=20",
    "stages.groups.rollouts=6",
    "stages.kept.rollouts=10",
    "stages.kept.draws=50",
    f"stages.ladder.rollouts={2 * N}",
    "stages.ladder.rows=200",
    "stages.ladder.draws=20",
    "stages.study.rollouts=6",
    "stages.arms.vectors.steps=5",
    "stages.arms.tuning=3",
]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the run kept until it was complete: its stages, each in a folder of its own, and their plan."""
    return tmp_path_factory.mktemp("begun") / "smoke.partial"


@pytest.fixture(scope="module")
def finished(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    complete = RunStore.complete

    def copied(self: RunStore) -> Path:
        shutil.copytree(self.partial, begun)
        return complete(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunStore, "complete", copied)
        out = tmp_path_factory.mktemp("runs") / "smoke"
        return run("smoke", out=out, overrides=SMALL, progress=False)


def test_every_arm_answers_every_problem(finished: Run) -> None:
    rows = finished.results.query("metric == 'accuracy' and problem != ''")
    assert set(rows.condition) == set(ORDER)
    assert (rows.groupby("condition").problem.nunique() == N).all()
    assert rows.value.isin([0.0, 1.0]).all()


def test_the_ceiling_is_the_thinking_model(finished: Run) -> None:
    texts = {
        name: [row["ids"] for row in finished.generations if row["condition"] == name]
        for name in ("base", "thinking", "takeover")
    }
    assert texts["takeover"] == texts["thinking"] != texts["base"]
    assert finished.value("recovery", "takeover") == 1.0


def test_every_number_has_its_unit_and_every_effect_its_control(finished: Run) -> None:
    assert finished.results.unit.str.len().gt(0).all()
    assert (
        not finished.results.drop(columns=["sample", "n_tokens", "n_masked", "n_gated", "n_changed"])
        .isna()
        .any(axis=None)
    )
    for condition in finished.record["conditions"]:
        if condition["fingerprint"]:
            assert condition["control"] or condition["control_for"] or condition["no_control"], condition[
                "name"
            ]
    measured = set(finished.results.condition)
    assert measured == {condition["name"] for condition in finished.record["conditions"]}


def test_a_clamp_changes_what_the_base_does_and_says_so(finished: Run) -> None:
    doses = (
        finished.results.query("metric == 'onset_probability' and problem == ''").set_index("condition").value
    )
    clamped = [name for name in doses.index if name.startswith("clamp") and "located" in name]
    assert clamped
    for name in clamped:
        untouched = "base " + name.split()[1] + " at opportunities" if "at opp" in name else None
        assert untouched is None or doses[name] != doses[untouched]
        (line,) = finished.record["receipts"][name]
        assert line["n_gated"] == line["n_masked"] > 0


def test_coders_of_the_run_load_and_remember_their_model(finished: Run) -> None:
    coder = load_coder(finished.path / "coders" / "topk" / "resid_post.2")
    assert coder.model_hash == finished.record["pair"]["base"]["weights_sha256"]


def test_the_hazard_under_reconstruction_is_measured_for_every_group(finished: Run) -> None:
    frame = finished.preservation.set_index("behaviour")
    selected = finished.features.query("selected").set_index("behaviour").coder
    assert {name: frame.coder[name] for name in frame.index} == selected.groupby(level=0).first().to_dict()
    assert (frame["ratio.low"] < frame["ratio.high"]).all() and frame["error_share"].between(0, 1).all()
    assert frame["ratio"].to_numpy() == pytest.approx((frame["spliced"] / frame["clean"]).to_numpy())


def test_the_features_that_are_written_are_listed(finished: Run) -> None:
    written = finished.written_features
    clamped = written.loc[written.verb == "clamp", ["behaviour", "coder", "feature"]]
    selected = finished.features.query("selected")[["behaviour", "coder", "feature"]].drop_duplicates()
    assert {*clamped.itertuples(index=False, name=None)} == {*selected.itertuples(index=False, name=None)}
    assert set(written.verb) == {"clamp", "ablate"} and (written.decoder_norm > 0).all()


def test_every_group_is_read_on_every_onset(finished: Run) -> None:
    located = finished.selectivity.query("arm == 'located'")
    assert set(located.behaviour) == {"step", "check"} and (located.reading != "").all()
    assert set(zip(located.verb, located.host, strict=True)) == {
        ("clamp", "base"),
        ("ablate", "base"),
        ("ablate", "thinking"),
    }
    assert {"step", "check", "conclude"} <= set(finished.onsets.onset)
    clamped = finished.onsets.query("verb == 'clamp' and arm == 'located' and among == 'all'")
    shares = clamped.groupby(["behaviour", "place", "dose"]).value.sum()
    assert shares.to_numpy() == pytest.approx(1, abs=1e-6)


def test_every_written_feature_has_verdicts(finished: Run) -> None:
    keys = ["behaviour", "verb", "coder", "feature"]
    of_ladder = {*finished.ladder[keys].itertuples(index=False, name=None)}
    assert of_ladder <= {*finished.written_features[keys].itertuples(index=False, name=None)}
    assert {"check"} <= set(finished.ladder.behaviour)
    per_claim = finished.ladder.groupby([*keys, "source", "claim"]).size()
    assert (per_claim == 1).all() and set(finished.ladder.claim.str[:2]) == {"C0", "C1", "C2"}
    assert {"previous kind", "position", "best feature of a random model"} <= set(finished.baselines.baseline)
    clamped = finished.ladder.query("verb == 'clamp'").feature
    assert set(clamped) <= set(finished.falsified.feature)


def test_a_report_comes_out_of_it(finished: Run) -> None:
    page = render(finished)
    for part in ("recovery-by-arm", "doses", "features", "traces", "receipts", "provenance"):
        assert f'<section id="{part}">' in page


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


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return load_pair("tiny-when")


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return load_experiment("smoke", SMALL)


def carry_out(kind: str, pair: ModelPair, experiment: Experiment, begun: Path, out: Path) -> Ledger:
    stage = next(stage for stage in experiment.stages if stage.kind == kind)
    done = {stage.kind: begun / "stages" / stage.kind for stage in experiment.stages}
    task = experiment.task
    problems = load_task(task.kind, n=task.n, seed=task.seed, split=task.split)
    out.mkdir()
    stage.run(StageContext(pair, problems, experiment.decode, 0, out, progress=False, finished=done))
    return Ledger.read(out)


@pytest.mark.parametrize(("kind", "what", "always", "item"), PLANTINGS)
def test_what_fails_has_a_line_with_its_first_cause(
    finished: Run,
    begun: Path,
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
    chosen = next(stage for stage in experiment.stages if stage.kind == kind)
    few = {}
    if kind == "arms":  # the one that fails, not all of them
        few = {
            "arms": ("base", "thinking", *(("clamp",) if item == "clamp" else ("full", "random_positions")))
        }
    elif isinstance(chosen, LocateFeatures):  # the one that fails, and one that does not
        few = {"searches": chosen.searches[:2]}
    stages = [s.model_copy(update=few) if s is chosen else s for s in experiment.stages]
    experiment = experiment.model_copy(update={"stages": tuple(stages)})
    ledger = carry_out(kind, pair, experiment, begun, tmp_path / kind)
    before = Ledger.read(begun / "stages" / kind).missing()
    missing = [row for row in ledger.missing() if row not in before]
    assert any(item in row["item"] for row in missing), ledger.missing()
    for row in missing:
        assert PLANTED.happened in row["happened"] and row["do"] == PLANTED.do, row


def test_without_any_search_the_other_arms_still_run(
    finished: Run, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locating fails; the run ends all the same, and report and command line say what it lacks."""
    monkeypatch.setattr(f"{STAGES}locate.labels_among", fail)
    out, partial = tmp_path / "run", tmp_path / "run.partial"
    for kind in ("rollouts", "coders"):  # which come before, and are those of the run that found all
        shutil.copytree(begun / "stages" / kind, partial / "stages" / kind)
    shutil.copy(begun / PLAN_FILE, partial)
    settings = [part for setting in SMALL for part in ("--set", setting)]
    ended = CliRunner().invoke(app, ["run", "smoke", "--out", str(out), "--quiet", *settings])
    lacking = load_run(out)
    missing = lacking.missing.set_index("item")
    assert ended.exit_code == 3, ended.output
    assert f"finished with {len(missing)} of {lacking.n_planned} things missing" in ended.output
    arms = set(lacking.results.query("metric == 'accuracy'").condition)
    assert arms == {"base", "thinking", "full", "takeover", "random_category"} | {
        "random_vectors",
        "random_positions",
    }
    assert {"clamp", "step", "hazard of step under reconstruction"} <= set(missing.index)
    assert missing.happened.str.contains("planted", regex=False).all()
    assert set(missing["do"]) == {PLANTED.do} and "train larger coders" not in ended.output
    assert set(lacking.results.query("metric == 'onset_probability'").condition) == {
        "base step at opportunities",
        "base step elsewhere",
        "thinking step at opportunities",
        "base check at opportunities",
        "base check elsewhere",
        "thinking check at opportunities",
    }
    page = render(lacking)
    assert 'id="missing"' in page and "planted &lt;i&gt;failure" in page


@pytest.mark.slow
def test_the_same_configuration_gives_the_same_numbers(finished: Run, tmp_path: Path) -> None:
    again = run("smoke", out=tmp_path / "again", overrides=SMALL, progress=False)
    assert finished.results.drop(columns="run").equals(again.results.drop(columns="run"))
