"""Laws of planted dictionaries, whatever is planted."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from reasonmech.simulators import (
    PlantedDictionary,
    PlantedFeature,
    TextModel,
    cell_truth,
    planted_texts,
    planted_truth,
)
from tests.unit.simulators.policies import probability

EXAMPLES = settings(max_examples=40, deadline=None)
KINDS = ("token", "context", "conjunctive", "position", "insertion", "dense", "silent")
texts = st.builds(
    TextModel,
    length=st.integers(2, 8),
    n_cues=st.integers(1, 3),
    n_fillers=st.integers(1, 4),
    p_behaviour=st.floats(0.1, 1.0),
    p_cue=st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)),
    p_disfluent=probability,
)


@st.composite
def dictionaries(draw: st.DrawFn) -> PlantedDictionary:
    features: list[PlantedFeature] = []
    for i in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from((*KINDS, "dormant", "absorbed") if features else KINDS))
        twin = draw(st.sampled_from(features)).name if kind in ("dormant", "absorbed") else None
        weight = 0.0 if kind == "dormant" else draw(st.floats(-2, 2))
        rate, leak = draw(probability), draw(probability)
        features.append(PlantedFeature(str(i), kind, rate=rate, leak=leak, readout_weight=weight, twin=twin))
    return PlantedDictionary(tuple(features), d_model=16, text=draw(texts), seed=draw(st.integers(0, 99)))


@EXAMPLES
@given(texts)
def test_probabilities_of_places_sum_to_1(text: TextModel) -> None:
    p = text.probability()
    assert (p >= 0).all() and p.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(text.tokens().sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(p.sum(axis=(1, 2, 3)), 1 / text.length, atol=1e-12)


@EXAMPLES
@given(dictionaries())
def test_truths_are_within_their_range(planted: PlantedDictionary) -> None:
    for row, feature in zip(planted_truth(planted), planted.features, strict=True):
        assert -1e-12 <= row.rate <= 1 + 1e-12
        assert row.mean == pytest.approx(row.rate * feature.strength, abs=1e-9)
        assert (
            -1e-12
            <= min(row.auroc_context, row.auroc_cue)
            <= max(row.auroc_context, row.auroc_cue)
            <= 1 + 1e-12
        )
        if feature.kind == "dormant":
            assert row.effect == 0.0 and not row.necessary
        if feature.kind == "silent":
            assert row.rate == 0.0 and row.answer == "no signal" and row.auroc_context == 0.5


@EXAMPLES
@given(dictionaries(), st.floats(-20, 20), st.integers(0, 2**31))
def test_writing_a_feature_moves_the_log_odds_by_its_readout_weight(
    planted: PlantedDictionary, amount: float, seed: int
) -> None:
    residual = planted_texts(planted, n=2, seed=seed).residual.astype(float)
    for f, feature in enumerate(planted.features):
        change = planted.log_odds(residual + amount * planted.directions[f]) - planted.log_odds(residual)
        np.testing.assert_allclose(change, amount * feature.readout_weight, atol=1e-9)


@EXAMPLES
@given(dictionaries())
def test_matched_cells_are_equal_for_features_that_depend_on_neither_side(planted: PlantedDictionary) -> None:
    truth = cell_truth(planted)
    for f, feature in enumerate(planted.features):
        if feature.kind in ("position", "dense", "silent"):
            cells = np.concatenate([truth.absent[:, f], truth.cue[:, f], truth.placebo[:, f]])
            np.testing.assert_allclose(cells, cells[0], atol=1e-12)
        if feature.kind in ("token", "conjunctive", "context"):
            np.testing.assert_allclose(truth.placebo[:, f], truth.absent[:, f], atol=1e-12)
