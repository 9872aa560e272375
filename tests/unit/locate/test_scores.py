"""Scores by their definitions, the correction over all features, and what a search refuses."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from reasonmech.errors import DataError, MismatchError, NonFiniteError
from reasonmech.labels import Labels
from reasonmech.locate import Auroc, CohenD, FeatureTable, Hazard, Sample, Search, locate, select
from reasonmech.locate.p_values import Discovered, adjusted
from reasonmech.locate.rows.codes import Codes
from reasonmech.locate.rows.sample import count_spans, hold_out
from reasonmech.locate.scoring.detection import Columns


def _noise(seed: int, *, rows: int = 400, features: int = 30) -> tuple[Codes, Sample]:
    """Labels and features that both come and go with the problem, and have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    problem = np.repeat(np.arange(rows // 10), 10)
    positive = rng.random(rows) < np.repeat(rng.beta(0.8, 0.8, rows // 10), 10)
    on = rng.random((rows, features)) < np.repeat(rng.beta(0.5, 1.0, (rows // 10, features)), 10, axis=0)
    return Codes.of(on * rng.random((rows, features))), Sample(positive, problem, np.ones((rows, 1)))


def test_cohen_d_is_the_difference_of_means_in_pooled_deviations() -> None:
    codes, sample = _noise(0)
    dense = np.asarray(codes.matrix.todense())
    a, b = dense[sample.positive], dense[~sample.positive]
    pooled = ((len(a) - 1) * a.var(0, ddof=1) + (len(b) - 1) * b.var(0, ddof=1)) / (len(a) + len(b) - 2)
    expected = (a.mean(0) - b.mean(0)) / np.sqrt(pooled)
    discovered = CohenD().discover(codes, sample)
    assert np.ptp(expected) > 0.2
    assert np.allclose(discovered.value, expected)
    assert np.array_equal(discovered.sign, np.sign(expected))
    columns = Columns(dense, dense + 1e4)  # a common mean changes nothing
    intervals = CohenD().held_out(columns, sample, sample, Search(draws=200))
    assert np.allclose([i.estimate for i in intervals], expected, atol=1e-6)
    assert all(i.low < i.estimate < i.high for i in intervals)


def test_cohen_d_of_what_does_not_vary_is_zero() -> None:
    positive, problem = np.arange(40) % 2 == 0, np.arange(40) // 4
    sample = Sample(positive, problem, np.ones((40, 1)))
    discovered = CohenD().discover(
        Codes.of(np.stack([np.zeros(40), np.full(40, 3.0), positive * 1.0], axis=1)), sample
    )
    assert discovered.value.tolist() == [0, 0, 0]
    assert discovered.p[:2].tolist() == [1, 1]


@pytest.mark.parametrize("score", [Auroc, CohenD, Hazard])
def test_parts_add_up_to_the_association(score: type) -> None:
    codes, sample = _noise(1)
    discovered = score().discover(codes, sample)
    assert discovered.parts is not None and discovered.parts.shape == (30, 40)
    assert np.array_equal(np.sign(discovered.parts.sum(1)), discovered.sign)
    if score is Auroc:
        m, n = sample.positive.sum(), (~sample.positive).sum()
        assert np.allclose(
            discovered.parts.sum(1), m * n / (m + n) * (discovered.value - 0.5), atol=1e-4
        )  # float32 parts


@pytest.mark.parametrize("score", [Auroc, CohenD, Hazard])
def test_max_t_seldom_finds_anything_where_nothing_is(score: type) -> None:
    search, hits = Search(correction="max_t", flips=199), 0
    for seed in range(60):
        discovered = score().discover(*_noise(seed))
        hits += int(adjusted(discovered, replace(search, seed=seed), score="any").min() <= 0.05)
    assert hits <= 8  # 3 of 60 at 5 %: more than 8 has probability 0.003; rows taken as units give about 60


def test_max_t_gives_copies_of_a_feature_the_p_value_of_one() -> None:
    rng = np.random.default_rng(3)
    unit = rng.normal(0.35, 1.0, 60)
    many = np.tile(unit, (400, 1))
    p = np.full(400, 0.009)
    copies = adjusted(Discovered(unit, np.ones(400), p, many), Search(correction="max_t"), score="any")
    alone = adjusted(Discovered(unit, np.ones(1), p[:1], many[:1]), Search(correction="max_t"), score="any")
    other = adjusted(
        Discovered(unit, np.ones(400), p, np.r_[many[:1], rng.normal(size=(399, 60))]),
        Search(correction="max_t"),
        score="any",
    )
    assert copies[0] == alone[0] < 0.05 < other[0]


def test_max_t_gives_p_1_to_a_feature_of_four_problems() -> None:
    rare = np.zeros((2, 40))
    rare[0, :4] = 1.0
    p_adjusted = adjusted(
        Discovered(np.ones(2), np.ones(2), np.full(2, 0.01), rare), Search(correction="max_t"), score="x"
    )
    assert p_adjusted.tolist() == [1, 1]
    with pytest.raises(DataError, match="'lift' says nothing by problem"):
        adjusted(Discovered(np.ones(2), np.ones(2), np.ones(2)), Search(correction="max_t"), score="lift")


@pytest.mark.parametrize("score", ["auroc", "hazard", "cohen_d"])
def test_max_t_finds_what_is_planted_and_is_not_corrected_again(world, coder, score: str) -> None:
    table = locate(
        world.acts, world.labels, coder, score=score, search=Search(correction="max_t", draws=100, top=4)
    )
    features = table.frame[table.frame.kind == "feature"].set_index("feature")
    assert features.p_adjusted[world.signal] == 0.001
    assert (features.p_adjusted.drop([world.signal, world.position_bound]) > 0.05).all()
    assert set(table.frame.correction) == {"max_t"}
    with pytest.raises(DataError, match="max-T corrects one search"):
        FeatureTable.concat([table, table])


def test_few_spans_are_marked_and_carry_no_claim(world, coder) -> None:
    positive = np.flatnonzero(world.labels.positive)
    few = replace(
        world.labels, positive=np.isin(np.arange(len(world.labels)), positive[:: len(positive) // 29][:29])
    )
    table = locate(world.acts, few, coder, search=Search(draws=100, top=4))
    assert table.frame.exploratory.all() and set(table.frame.n_spans) == {29}
    with pytest.raises(DataError, match="29 positive spans: too few to carry a claim"):
        locate(world.acts, few, coder, search=Search(claim=True))
    enough = locate(world.acts, world.labels, coder, search=Search(draws=100, top=4, claim=True))
    assert not enough.frame.exploratory.any()


def test_a_span_of_several_tokens_counts_once() -> None:
    rollout, position = np.array([0] * 8 + [1] * 4), np.r_[np.arange(8), np.arange(8, 12)]
    positive = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1], dtype=bool)
    labels = Labels("check", "recognises", rollout, position, positive, np.full(12, "p"))
    assert count_spans(labels) == 5  # a rollout's end ends its span
    assert count_spans(replace(labels, mode="anticipates")) == 7


def test_a_span_that_the_environment_writes_into_is_one_span() -> None:
    rows = np.array(
        [0, 1, 4, 5, 6, 9]
    )  # 2 and 3 are the environment's and no rows; nothing says that the span ended
    positive = np.array([False, True, True, True, False, True])
    labels = Labels("b", "recognises", np.zeros(6, int), rows, positive, np.full(6, "p"))
    assert count_spans(labels) == 2
    assert count_spans(replace(labels, rollout=np.array([0, 0, 0, 1, 1, 1]))) == 3


def test_labels_of_other_rollouts_are_refused(world, coder) -> None:
    swapped = replace(world.labels, problem=world.labels.problem[::-1])
    with pytest.raises(MismatchError, match="rollout 0 is of problem 'p119', the captured one is of 'p0'"):
        locate(world.acts, swapped, coder)


def test_a_feature_that_never_fires_is_in_the_table_and_never_chosen(world, make_coder) -> None:
    class Deaf(make_coder):
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return super().encode(x) * (torch.arange(self.d_sae) != world.signal)

    for score in ("auroc", "hazard", "cohen_d"):
        table = locate(world.acts, world.labels, Deaf(), score=score, search=Search(draws=100, top=8))
        row = table.frame.set_index(["kind", "feature"]).loc["feature", world.signal]
        assert (row.rate, row.sign, row.p, row.p_adjusted) == (0, 0, 1, 1)
        assert world.signal not in select(table, 1, coder=Deaf(), alpha=1.0).indices


def test_a_coder_that_makes_nan_of_a_finite_stream_is_refused(world, make_coder) -> None:
    class Overflows(make_coder):
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(torch.arange(x.shape[1]) == 5, torch.nan, torch.relu(x))

    with pytest.raises(NonFiniteError, match="the first is feature 5 at row 0"):
        locate(world.acts, world.labels, Overflows(), search=Search(draws=50, top=2))


def test_the_stream_is_read_in_chunks_that_change_nothing(
    world, coder, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True, eq=False)
    class Counting(type(world.acts)):
        read: list[int] | None = None

        def rows(self, site, labels):
            assert self.read is not None
            self.read.append(len(labels))
            return super().rows(site, labels)

    whole = locate(world.acts, world.labels, coder, search=Search(draws=100, top=4))
    monkeypatch.setattr(sys.modules["reasonmech.locate.rows.stream"], "CELLS", 64 * 500)
    acts = Counting(world.acts.x, world.acts.index, read=[])
    pieces = locate(acts, world.labels, coder, search=Search(draws=100, top=4))
    assert max(acts.read or []) == 1024 and sum(acts.read or []) > 2 * len(
        world.labels
    )  # the first chunk tells widths
    features = [t.frame[t.frame.kind == "feature"].reset_index(drop=True) for t in (whole, pieces)]
    assert features[0].equals(features[1])
    baseline = [t.frame.set_index("kind").loc["diff_mean"] for t in (whole, pieces)]
    assert baseline[0].value != baseline[1].value  # fitted on 500 of the 1440 training rows
    assert baseline[0].value == pytest.approx(baseline[1].value, abs=0.05)


def test_problems_are_held_out_the_same_way_whatever_the_labels(world) -> None:
    held = hold_out(replace(world.labels, positive=np.ones(len(world.labels), bool)), Search(seed=3))
    assert 0 < held.mean() < 1
    few = np.isin(world.labels.problem, [f"p{i}" for i in range(8)])
    with pytest.raises(DataError, match="8 problems, 3 of them held out"):
        hold_out(
            replace(
                world.labels,
                rollout=world.labels.rollout[few],
                position=world.labels.position[few],
                positive=world.labels.positive[few],
                problem=world.labels.problem[few],
            ),
            Search(),
        )
