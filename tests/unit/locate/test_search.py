"""The search finds what was planted, corrects for what it looked at, and values it on problems it never
saw."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from reasonmech.errors import CorruptFileError, DataError, MismatchError, NonFiniteError, UnknownNameError
from reasonmech.locate import (
    Auroc,
    CohenD,
    Context,
    FeatureTable,
    Sample,
    Search,
    auroc_columns,
    locate,
    select,
)
from reasonmech.locate.rows.codes import Codes
from reasonmech.locate.rows.sample import split_by_problem
from reasonmech.locate.scoring.detection import Columns
from reasonmech.locate.scoring.hazard import Hazard
from reasonmech.stats import bh
from reasonmech.stats.logistic import fit_logistic, log_likelihood


@pytest.fixture(scope="module")
def table(world, coder) -> FeatureTable:
    return locate(world.acts, world.labels, coder, context=Context(ceiling=world.true_hazard))


def test_features_chosen_elsewhere_are_valued_whatever_their_rank(table, world, coder) -> None:
    context = Context(ceiling=world.true_hazard)
    few = locate(world.acts, world.labels, coder, context=context, search=Search(top=1, also=(3, 7)))
    valued = few.frame.loc[(few.frame.kind == "feature") & few.frame.value.notna()]
    best = table.top(1).frame.query("kind == 'feature'").feature.tolist()
    assert set(valued.feature) == {*best, 3, 7}
    for feature in (3, 7):
        both = [_row(one, "feature", feature) for one in (few, table)]
        assert both[0]["train_value"] == both[1]["train_value"]
        if not np.isnan(both[1]["value"]):
            assert both[0]["value"] == both[1]["value"]


def _row(table: FeatureTable, kind: str, feature: int = -1) -> dict:
    rows = table.frame[(table.frame.kind == kind) & (table.frame.feature == feature)]
    assert len(rows) == 1
    return rows.iloc[0].to_dict()


@pytest.mark.parametrize("negatives", [False, True])
def test_sparse_auroc_equals_every_pair_compared(negatives: bool) -> None:
    rng = np.random.default_rng(0)
    dense = np.round(rng.normal(size=(90, 12)), 1) * (rng.random((90, 12)) < 0.3)
    dense = dense if negatives else np.abs(dense)
    dense[:, 3] = 0.0
    positive = rng.random(90) < 0.4
    wins = dense[positive][:, None] - dense[~positive][None]
    expected = ((wins > 0) + 0.5 * (wins == 0)).mean((0, 1))
    assert np.ptp(expected) > 0.1
    assert np.allclose(auroc_columns(Codes.of(dense), positive), expected)


def test_column_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    codes = Codes.of(rng.random((50, 30)) * (rng.random((50, 30)) < 0.4))
    positive = rng.random(50) < 0.5
    whole = auroc_columns(codes, positive)
    monkeypatch.setattr(sys.modules["reasonmech.locate.scoring.auroc"], "ENTRIES", 40)
    assert np.array_equal(auroc_columns(codes, positive), whole)


@pytest.mark.parametrize("score", [Auroc, Hazard, CohenD])
def test_p_values_hold_their_level_when_rows_of_a_problem_belong_together(score: type) -> None:
    """Labels and features both cluster by problem and are independent: 5 % of p-values may lie below 0.05."""
    rng, small, total = np.random.default_rng(2), 0, 0
    for _ in range(40):
        problem = np.repeat(np.arange(60), 10)
        positive = rng.random(600) < np.repeat(rng.beta(0.8, 0.8, 60), 10)
        on = rng.random((600, 50)) < np.repeat(rng.beta(0.5, 1.0, (60, 50)), 10, axis=0)
        sample = Sample(positive, problem, np.ones((600, 1)))
        discovered = score().discover(Codes.of(on * rng.random((600, 50))), sample)
        small, total = small + int((discovered.p < 0.05).sum()), total + 50
    assert (
        0.03 < small / total < 0.085
    )  # clustered normal approximation at 60 problems; rows taken as units give 0.4


@pytest.mark.parametrize("score", [Auroc, Hazard, CohenD])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_few_problems_find_nothing_where_nothing_is(score: type, share: float) -> None:
    """12 problems, of which a share has positives at all; spreads about the observed mean find something in
    most."""
    rng, hits = np.random.default_rng(5), 0
    for _ in range(40):
        problem = np.repeat(np.arange(12), 20)
        often = rng.beta(1.0, 2.0, 12) * (rng.permutation(12) < share * 12)
        positive = rng.random(240) < often[problem]
        on = rng.random((240, 300)) < np.where(rng.random((12, 300)) < 0.5, 0.5, 0.0)[problem]
        sample = Sample(positive, problem, np.ones((240, 1)))
        discovered = score().discover(Codes.of(on * rng.uniform(0.5, 1.5, (240, 300))), sample)
        hits += bool((bh(discovered.p) <= 0.05).any())
    assert hits <= 6  # 2 of 40 at 5 %: more than 6 has probability 0.003


def test_rao_gain_predicts_the_refit(make_world) -> None:
    world = make_world(strength=0.3, n_problems=300)
    positive = world.labels.positive
    design = np.c_[np.ones(len(positive)), world.labels.position / 50 - 1]
    sample = Sample(positive, world.labels.rollout, design)
    codes = Codes.of(torch.relu(world.acts.x).numpy().astype(np.float64))
    discovered = Hazard().discover(codes, sample)
    before = log_likelihood(design, positive, fit_logistic(design, positive, l2=1e-6)).mean()
    for feature in (world.signal, world.position_bound, 40):
        x = np.c_[design, codes.column(feature)]
        gain = log_likelihood(x, positive, fit_logistic(x, positive, l2=1e-6)).mean() - before
        assert discovered.value[feature] == pytest.approx(
            gain, rel=0.05, abs=2e-5
        )  # second order in a small effect
    assert np.argmax(discovered.value) == world.signal


def test_planted_feature_is_found_on_held_out_problems(world, table: FeatureTable) -> None:
    features = table.frame[table.frame.kind == "feature"]
    assert len(features) == 64
    best = features.sort_values("train_value").iloc[-1]
    assert best.feature == world.signal
    row = _row(table, "feature", world.signal)
    assert row["p_adjusted"] < 1e-6
    assert 0.6 < row["low"] < row["value"] < row["high"] < 0.8
    assert row["rate"] == pytest.approx(0.3, abs=0.03)
    assert row["mean_active"] == pytest.approx(1.5, abs=0.05)
    assert (row["n_pos"] + row["n_neg"], row["n_problems"]) == (48 * 20, 48)
    assert features.value.notna().sum() == Search().top


def test_false_discoveries_are_corrected_for(table: FeatureTable, world) -> None:
    features = table.frame[table.frame.kind == "feature"].set_index("feature")
    chance = features.drop([world.signal, world.position_bound])
    assert (chance.p < 0.05).any()  # some look good by chance
    assert (chance.p_adjusted < 0.05).sum() == 0


def test_baselines_stand_in_the_same_table_and_the_ceiling_is_the_ceiling(table: FeatureTable, world) -> None:
    values = {kind: _row(table, kind)["value"] for kind in ("diff_mean", "probe", "ceiling")}
    assert values["probe"] > _row(table, "feature", world.signal)["value"]
    assert values["ceiling"] >= max(values.values()) - 0.01
    assert np.isnan(_row(table, "probe")["p_adjusted"])


def test_the_top_of_a_hazard_table_is_what_was_valued(world, coder) -> None:
    """Likelihood gain has no sign: a silent feature may gain more than one that goes with the behaviour."""
    frame = pd.DataFrame(
        {
            "behaviour": "check",
            "mode": "anticipates",
            "site": "resid_post.1",
            "kind": ["feature"] * 4 + ["probe"],
            "feature": [0, 1, 2, 3, -1],
            "score": "hazard",
            "unit": "nats",
            "value": [np.nan, 0.2, 0.1, np.nan, 0.3],
            "low": 0.0,
            "high": 1.0,
            "train_value": [0.9, 0.5, 0.4, 0.8, np.nan],
            "sign": [-1, 1, 1, -1, 1],
            "p": 0.01,
            "p_adjusted": 0.01,
            "rate": 0.1,
            "mean_active": 1.0,
            "n_pos": 9,
            "n_neg": 9,
            "n_problems": 9,
        }
    )
    assert list(FeatureTable(frame).top(2).frame.feature) == [-1, 1, 2]
    hazard_table = locate(world.acts, world.labels, coder, score="hazard", search=Search(top=6))
    assert (hazard_table.top(6).frame.kind == "feature").sum() == 6


def test_hazard_discounts_what_position_knows_already(world, coder) -> None:
    hazard_table = locate(
        world.acts, world.labels, coder, score="hazard", context=Context(ceiling=world.true_hazard)
    )
    assert _row(hazard_table, "feature", world.signal)["low"] > 0.02
    followed = _row(hazard_table, "feature", world.position_bound)
    assert followed["value"] < 0.01  # AUROC calls it a detector all the same
    assert auroc_columns(Codes.of(torch.relu(world.acts.x).numpy()), world.labels.positive)[11] > 0.6
    assert _row(hazard_table, "ceiling")["value"] > _row(hazard_table, "feature", world.signal)["value"]
    assert set(hazard_table.frame.unit) == {"nats per boundary"}


@pytest.mark.parametrize("behaves", [False, True])
def test_hazard_discounts_the_token_for_as_many_tokens_as_there_are(behaves: bool) -> None:
    """One token in ten of 300 goes with the onset; a feature that fires on those is worth nothing beyond
    them."""
    rng = np.random.default_rng(0)
    problem, token = np.repeat(np.arange(200), 40), rng.integers(0, 300, 8000)
    often = token % 10 == 0
    positive = rng.random(8000) < np.where(often, 0.7, 0.1)
    on = rng.random((8000, 1)) < np.where(positive if behaves else often, 0.9, 0.05)[:, None]
    sides = []
    for rows in (problem < 120, problem >= 120):
        sides.append(
            Sample(positive[rows], problem[rows] - problem[rows].min(), np.ones((rows.sum(), 1)), token[rows])
        )
    columns = Columns(1.0 * on[problem < 120], 1.0 * on[problem >= 120])
    (gain,) = Hazard().held_out(columns, *sides, Search(draws=300))
    discovered = Hazard().discover(Codes.of(columns.train), sides[0])
    blind = [replace(side, token=None) for side in sides]
    assert (
        Hazard().held_out(columns, *blind, Search(draws=300))[0].low > 0.04
    )  # what the word class looks worth
    if behaves:
        assert gain.low > 0.1 and discovered.p[0] < 1e-6 and discovered.value[0] > 0.1
    else:
        assert (
            gain.low <= 0.001 and gain.high < 0.01 and discovered.p[0] > 0.01 and discovered.value[0] < 0.001
        )


def test_a_covariate_that_knows_the_signal_leaves_it_no_gain(world, coder) -> None:
    hidden = (world.acts.x[:, world.signal] > 0).numpy()
    context = Context(covariates=pd.DataFrame({"previous": np.where(hidden, "step", "plan")}))
    alone = _row(locate(world.acts, world.labels, coder, score="hazard"), "feature", world.signal)
    known = locate(world.acts, world.labels, coder, score="hazard", context=context)
    assert alone["value"] > 0.02
    left = known.frame[(known.frame.feature == world.signal)].iloc[0]
    assert not left["p_adjusted"] < 0.05


def test_split_keeps_problems_whole(world) -> None:
    held = split_by_problem(world.labels, Search(test=0.4, seed=3))
    problems = [set(world.labels.problem[rows]) for rows in (held, ~held)]
    assert not problems[0] & problems[1]
    assert len(problems[0]) == 48
    assert not np.array_equal(held, split_by_problem(world.labels, Search(test=0.4, seed=4)))
    assert np.array_equal(held, split_by_problem(world.labels, Search(test=0.4, seed=3)))


def test_select_ranks_on_the_training_split_only(world, table: FeatureTable, coder) -> None:
    assert select(table, 1, coder=coder).indices == (world.signal,)
    upside_down = FeatureTable(table.frame.assign(value=-table.frame.value))
    assert select(upside_down, 2, coder=coder).indices == select(table, 2, coder=coder).indices
    with pytest.raises(DataError, match=r"features at resid_post\.2 go with the behaviour") as few:
        select(table, 30, coder=coder)
    assert re.match(r"ask for [1-9]\d*, use more problems", few.value.do), "as many as there are"
    none = FeatureTable(table.frame.assign(p_adjusted=1.0))
    with pytest.raises(DataError, match=r"^0 of ") as none_at_all:
        select(none, 1, coder=coder)
    assert "ask for" not in none_at_all.value.do
    other = FeatureTable(table.frame.assign(behaviour="wait"))
    both = FeatureTable.concat([table, other])
    with pytest.raises(DataError, match="several searches"):
        select(both, 1, coder=coder)
    assert select(both, 1, coder=coder, behaviour="wait").indices == (world.signal,)


def test_concat_corrects_over_the_whole_family(table: FeatureTable) -> None:
    joined = FeatureTable.concat([table] * 3)
    weakest = table.frame.p_adjusted.max()
    assert len(joined) == 3 * len(table)
    assert np.nanmax(joined.frame.p_adjusted) == pytest.approx(weakest)
    searched = table.frame.kind == "feature"
    diluted = FeatureTable.concat([table, FeatureTable(table.frame.assign(p=1.0))]).frame[: len(table)]
    assert (diluted.p_adjusted[searched] >= table.frame.p_adjusted[searched]).all()
    assert not np.allclose(diluted.p_adjusted[searched], table.frame.p_adjusted[searched])


def test_table_round_trips_and_refuses_what_is_none(table: FeatureTable, tmp_path) -> None:
    table.save(tmp_path / "features.parquet")
    assert FeatureTable.load(tmp_path / "features.parquet").frame.equals(table.frame)
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "features.parquet").read_bytes()[:200])
    with pytest.raises(CorruptFileError, match=r"cut\.parquet"):
        FeatureTable.load(tmp_path / "cut.parquet")
    with pytest.raises(DataError, match="without"):
        FeatureTable(table.frame.drop(columns="low"))
    assert "probe" in table._repr_html_()
    assert len(table.top(3).frame) == 3 + 3


def test_unknown_scores_foreign_coders_nan_and_missing_labels_are_refused(world, coder, make_coder) -> None:
    with pytest.raises(UnknownNameError, match="auroc, cohen_d, hazard"):
        locate(world.acts, world.labels, coder, score="aurok")
    with pytest.raises(MismatchError, match="host-b"):
        locate(world.acts, world.labels, make_coder(model_hash="host-b"))
    broken = replace(world.acts, x=world.acts.x.clone())
    broken.x[21, 5] = float("nan")
    with pytest.raises(NonFiniteError, match=r"resid_post\.2.*'p1' at position 17"):
        locate(broken, world.labels, coder)
    with pytest.raises(DataError, match="0 training problems hold a positive row"):
        locate(world.acts, replace(world.labels, positive=np.zeros(len(world.labels), bool)), coder)
    with pytest.raises(DataError, match="2 rows of ceiling"):
        locate(world.acts, world.labels, coder, context=Context(ceiling=np.ones(2)))
