"""The main path end to end on the shipped pair, at a size that only proves that every stage does its work."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasonmech.coders import load_coder
from reasonmech.experiments import Run, run
from reasonmech.hybrid import ORDER
from reasonmech.report import render


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run("smoke", out=tmp_path_factory.mktemp("runs") / "smoke", progress=False)


def test_every_arm_answers_every_problem(finished: Run) -> None:
    rows = finished.results.query("metric == 'accuracy' and problem != ''")
    assert set(rows.condition) == set(ORDER)
    assert (rows.groupby("condition").problem.nunique() == 24).all()
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


@pytest.mark.slow
def test_the_same_configuration_gives_the_same_numbers(finished: Run, tmp_path: Path) -> None:
    again = run("smoke", out=tmp_path / "again", progress=False)
    assert finished.results.drop(columns="run").equals(again.results.drop(columns="run"))
