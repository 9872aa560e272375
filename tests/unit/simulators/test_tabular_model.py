"""Models that are sampled at a temperature: policies, and how far apart two of them are, by hand."""

import numpy as np
import pytest

from reasonmech.errors import ArgumentError, DataError
from reasonmech.simulators import (
    Hazards,
    ReasonerWorld,
    Skills,
    TabularModel,
    TemperedModel,
    argmax_differs,
    disagreement,
    expectations,
    js_distances,
    kl_distances,
    simulate,
)

MODEL = TabularModel(Hazards(0.7, 0.3, 0.6), Skills(0.8, 0.9, 0.7, 0.95, guess=0.1), sure=0.82)
OTHER = TabularModel(Hazards(0.9, 0.8, 0.9), Skills(0.95, 0.9, 0.9, 0.5, guess=0.1), sure=0.9)


def test_greedy_decoding_takes_the_likeliest_kind_and_what_is_known() -> None:
    table, greedy = MODEL.onset.table(), MODEL.at(0.0)
    assert np.array_equal(greedy.onset.table().argmax(axis=-1), table.argmax(axis=-1))
    assert (greedy.onset.table().max(axis=-1) == 1.0).all()
    assert greedy.execution == MODEL.known


def test_a_policy_at_a_temperature_is_the_softmax_of_log_p_over_it() -> None:
    with np.errstate(divide="ignore"):
        logits = np.log(MODEL.onset.table()) / 0.5
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    assert not np.allclose(expected, MODEL.onset.table())
    np.testing.assert_allclose(MODEL.at(0.5).onset.table(), expected, atol=1e-12)
    sure = 0.82**2 / (0.82**2 + 9 * 0.02**2)
    assert MODEL.at(0.5).execution.step == pytest.approx(0.8 * sure + 0.2 * (1 - sure) / 9, abs=1e-12)
    assert MODEL.at(1.0).execution.step == pytest.approx(0.8 * 0.82 + 0.2 * 0.02, abs=1e-12)
    assert MODEL.at(0.5).execution.guess == pytest.approx(0.1, abs=1e-12)  # a guess is a guess


def test_a_tempered_model_is_the_model_at_that_temperature() -> None:
    sharper = MODEL.tempered(0.4)
    np.testing.assert_allclose(sharper.at(1.0).onset.table(), MODEL.at(0.4).onset.table(), atol=1e-12)
    assert sharper.at(1.0).execution.step == pytest.approx(MODEL.at(0.4).execution.step, abs=1e-12)
    assert np.array_equal(sharper.at(0.0).onset.table(), MODEL.at(0.0).onset.table())
    assert not argmax_differs(sharper, MODEL).any() and not disagreement(sharper, MODEL).any()
    (left,) = kl_distances(sharper, MODEL, temperatures=(0.4,))
    (plain,) = kl_distances(sharper, MODEL)
    assert plain.decision.max() > 0.01 < plain.agreed
    assert left.decision.max() < 1e-12 and left.agreed < 1e-12


def test_divergences_equal_those_written_out() -> None:
    (kl,) = kl_distances(MODEL, OTHER)
    # a step that nothing has verified, items left: check 0.3 or 0.8; step 0.7 of the rest, or 0.9
    p = np.array([0.3, 0.7 * 0.7, 0.7 * 0.3])
    q = np.array([0.8, 0.2 * 0.9, 0.2 * 0.1])
    assert kl.decision[0, 1] == pytest.approx((p * np.log(p / q)).sum(), abs=1e-12)
    middle = (p + q) / 2
    js = ((p * np.log(p / middle)).sum() + (q * np.log(q / middle)).sum()) / 2
    assert js_distances(MODEL, OTHER).decision[0, 1] == pytest.approx(js, abs=1e-12)
    agreed = 0.82 * np.log(0.82 / 0.9) + 0.18 * np.log(0.02 / (0.1 / 9))
    assert kl.agreed == pytest.approx(agreed, abs=1e-12)
    w = 0.1 / 9
    other = 0.82 * np.log(0.82 / w) + 0.02 * np.log(0.02 / 0.9) + 0.16 * np.log(0.02 / w)
    assert kl.disagreed == pytest.approx(other, abs=1e-12)
    assert 0 < js_distances(MODEL, OTHER).disagreed <= np.log(2)
    np.testing.assert_allclose(disagreement(MODEL, OTHER), [0.15, 0.0, 0.2, 0.45], atol=1e-12)
    assert argmax_differs(MODEL, OTHER).tolist() == [[1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize("model", [MODEL, OTHER])
def test_draws_agree_with_the_chain_on_guesses_and_statements(model: TabularModel) -> None:
    policy, world = model.at(1.0), ReasonerWorld(max_sentences=9)
    drawn, exact = simulate(policy, world, problems=20_000, seed=8), expectations(policy, world)
    assert exact.verified < exact.accuracy < exact.reached
    for name in ("accuracy", "verified", "reached"):
        hits = {"accuracy": drawn.correct, "verified": drawn.verified, "reached": drawn.reached}[name][:, 0]
        truth = getattr(exact, name)
        assert abs(hits.mean() - truth) < 3.5 * np.sqrt(truth * (1 - truth) / len(hits)), name
    visits = drawn.boundaries[:, 0]
    error = visits.std(axis=0) / np.sqrt(len(visits))
    assert (np.abs(visits.mean(axis=0) - exact.boundaries) <= 4 * error + 1e-12).all()
    assert np.array_equal(visits.sum(axis=(1, 2)), drawn.sentences[:, 0])


def test_temperatures_and_words_that_there_are_not_are_refused() -> None:
    with pytest.raises(DataError, match="temperature -1"):
        MODEL.at(-1.0)
    with pytest.raises(DataError, match="temperature 0"):
        MODEL.tempered(0.0)
    with pytest.raises(ArgumentError, match="temperature is the number nan"):
        TemperedModel(MODEL.onset, float("nan"))
    with pytest.raises(DataError, match="most probable of 10 words"):
        TabularModel(MODEL.onset, MODEL.known, sure=0.05)
