"""Equal tuning: the group beats a baseline only where it knows more, and the headline says so when it knows
less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

from reasonmech.errors import DataError
from reasonmech.locate import Search, compare_detectors
from reasonmech.locate.compare import area
from reasonmech.locate.rows.sample import split_by_problem
from reasonmech.stats.auroc import influence

SEARCH = Search(draws=200)


@pytest.fixture(scope="module")
def comparison(world, coder):
    return compare_detectors(world.acts, world.labels, coder, search=SEARCH)


def test_a_group_that_knows_what_the_stream_knows_is_not_lower(comparison, world) -> None:
    rows = comparison.frame.set_index("detector")
    assert rows.index.tolist() == ["group", "single", "diff_mean", "probe"]
    assert comparison.features[0] in (world.signal, world.position_bound)
    assert {world.signal, world.position_bound} <= set(comparison.features)
    assert rows.value["group"] > rows.value["single"] + 0.02
    assert not comparison.sae_is_lower
    assert comparison.headline.startswith(f"The SAE is not lower: a group of {len(comparison.features)}")
    assert set(rows.tried) == {5}
    assert (rows.low < rows.value).all() and (rows.value < rows.high).all()
    assert rows.ahead["group"] == rows.ahead_low["group"] == 0
    assert rows.ahead_low["single"] < rows.ahead["single"] < rows.ahead_high["single"] < 0
    assert np.allclose(rows.ahead, rows.value - rows.value["group"])


def test_a_coder_that_misses_the_signal_is_in_the_headline(world, make_coder) -> None:
    class Deaf(make_coder):
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            known = (torch.arange(self.d_sae) != world.signal) & (
                torch.arange(self.d_sae) != world.position_bound
            )
            return super().encode(x) * known

    comparison = compare_detectors(world.acts, world.labels, Deaf(), search=SEARCH)
    rows = comparison.frame.set_index("detector")
    assert comparison.sae_is_lower and rows.ahead_low["probe"] > 0.02
    assert comparison.headline.startswith("The SAE is LOWER by 0.")
    assert "exploratory" not in comparison.headline
    assert comparison.headline in comparison._repr_html_()


def test_held_out_labels_choose_nothing(world, coder) -> None:
    held = split_by_problem(world.labels, SEARCH)
    positive = world.labels.positive.copy()
    shuffled = np.random.default_rng(0).permutation(positive[held])
    positive[held] = shuffled
    blind = compare_detectors(
        world.acts, replace(world.labels, positive=positive), coder, search=SEARCH
    ).frame
    honest = compare_detectors(world.acts, world.labels, coder, search=SEARCH).frame
    assert blind.chosen.equals(honest.chosen) and blind.inner.equals(honest.inner)
    assert (honest.value > 0.6).all() and (abs(blind.value - 0.5) < 0.05).all()


def test_the_difference_has_the_error_of_a_paired_bootstrap(world, coder, comparison) -> None:
    test = world.labels.take(split_by_problem(world.labels, SEARCH))
    x = torch.relu(world.acts.rows(coder.site, test)).double().numpy()
    a, b = x[:, world.signal], x[:, world.position_bound]
    psi = influence(a, test.positive, test.problem)[1] - influence(b, test.positive, test.problem)[1]
    error = np.sqrt((psi**2).sum() * len(psi) / (len(psi) - 1))
    ids, problem = np.unique(test.problem, return_inverse=True)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(300):
        rows = np.concatenate([np.flatnonzero(problem == p) for p in rng.integers(0, len(ids), len(ids))])
        drawn.append(area(a[rows], test.positive[rows]) - area(b[rows], test.positive[rows]))
    assert error == pytest.approx(np.std(drawn), rel=0.2)  # 300 draws: the deviation is known to 4 %
    wins = scipy_stats.mannwhitneyu(a[test.positive], a[~test.positive]).statistic
    assert area(a, test.positive) == pytest.approx(wins / (test.positive.sum() * (~test.positive).sum()))


def test_a_coder_that_never_fires_and_a_claim_on_few_spans_are_refused(world, make_coder) -> None:
    class Silent(make_coder):
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x)

    with pytest.raises(DataError, match="no feature of 'planted' fires"):
        compare_detectors(world.acts, world.labels, Silent(), search=SEARCH)
    few = replace(world.labels, positive=world.labels.positive & (np.arange(len(world.labels)) % 50 == 0))
    with pytest.raises(DataError, match="too few to carry a claim"):
        compare_detectors(world.acts, few, Silent(), search=Search(claim=True))
