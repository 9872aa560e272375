"""Planted dictionaries: draws against enumeration, causes against the readout, answers of the 2x2."""

import numpy as np
import pytest

from reasonmech import stats
from reasonmech.errors import ArgumentError, DataError, DuplicateNameError, ReasonmechError, UnknownNameError
from reasonmech.simulators import (
    INSERTED,
    PlantedDictionary,
    PlantedFeature,
    PlantedTexts,
    TextModel,
    cell_truth,
    one_of_each,
    planted_cells,
    planted_texts,
    planted_truth,
)

PLANTED = one_of_each()
NAMES = [feature.name for feature in PLANTED.features]
TRUTH = {row.name: row for row in planted_truth(PLANTED)}
# standard errors: 10 features x 4 figures are compared, and 3 would be passed by chance in 1 of 10 runs
TOO_FAR = 3.5


def by_text(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error; tokens of one text hang together, texts do not."""
    per_text = values.reshape(len(values), -1, values.shape[-1]).mean(axis=1)
    return per_text.mean(axis=0), per_text.std(axis=0, ddof=1) / np.sqrt(len(values))


@pytest.fixture(scope="module")
def texts() -> PlantedTexts:
    return planted_texts(PLANTED, n=3000, seed=1)


def test_draws_agree_with_enumeration(texts: PlantedTexts) -> None:
    for field, values in (("rate", texts.activations > 0), ("mean", texts.activations)):
        mean, error = by_text(values.astype(float))
        truth = np.array([row._asdict()[field] for row in TRUTH.values()])
        assert (np.abs(mean - truth) <= TOO_FAR * error + 1e-12).all(), field
        z = (mean - truth)[error > 0] / error[error > 0]
        assert 0.2 < (z**2).mean() < 2.0  # neither too far off nor too near
    assert TRUTH["silent"].rate == 0.0 and not texts.activations[..., NAMES.index("silent")].any()


def test_rates_equal_those_worked_out_by_hand() -> None:
    on = 0.6 * 49 / 96  # the mean of (t + 1) / 48
    cue = 0.15 * on + 0.03 * (1 - on)
    rates = {
        "cue 0": cue / 4 + 0.02 * (1 - cue / 4),
        "any cue": 0.98
        * (0.95 * cue * 3 / 4 + 0.02 * (1 - cue)),  # its twin leaks in 0.02, and has all of cue 0
        "token": 0.02 + 0.93 * cue,
        "context": 0.02 + 0.93 * on,
        "conjunctive": 0.02 + 0.93 * 0.15 * on,
        "position": 0.02 + 0.93 / 2,
        "insertion": 0.02 + 0.93 * 0.01,
        "dense": 0.9,
        "dormant": 0.02 + 0.93 * (0.02 + 0.93 * on),
        "silent": 0.0,
    }
    for name, rate in rates.items():
        assert TRUTH[name].rate == pytest.approx(rate, abs=1e-12), name
        assert TRUTH[name].mean == pytest.approx(4 * rate, abs=1e-12), name
    assert TRUTH["context"].auroc_context == pytest.approx(0.5 + 0.93 / 2)
    assert TRUTH["dormant"].auroc_context == pytest.approx(0.5 + 0.93**2 / 2)
    assert TRUTH["token"].auroc_cue == pytest.approx(0.5 + 0.93 / 2)
    assert TRUTH["conjunctive"].effect == pytest.approx(-0.4 * 4 * rates["conjunctive"])


def test_no_readout_with_the_same_weights_has_less_noise() -> None:
    weights = np.array([feature.readout_weight for feature in PLANTED.features])
    least = ((PLANTED.readout * PLANTED.noise_std) ** 2).sum()
    plain = np.linalg.pinv(PLANTED.directions) @ weights  # shortest, but deaf to where the noise is
    np.testing.assert_allclose(PLANTED.directions @ plain, weights, atol=1e-12)
    assert ((plain * PLANTED.noise_std) ** 2).sum() > 1.1 * least
    null_space = np.linalg.svd(PLANTED.directions)[2][len(weights) :]
    for step in (0.01, -0.01):
        others = PLANTED.readout + step * null_space
        assert (((others * PLANTED.noise_std) ** 2).sum(axis=1) > least).all()


@pytest.mark.parametrize(
    "name", ["token", "any cue", "context", "conjunctive", "position", "dense", "dormant"]
)
def test_auroc_agrees_with_enumeration(texts: PlantedTexts, name: str) -> None:
    values, few = texts.activations[..., NAMES.index(name)], slice(0, 1000)
    problem = np.repeat(np.arange(1000), values.shape[1])
    cue = texts.places.token < PLANTED.text.n_cues
    for label, truth in ((texts.places.context, TRUTH[name].auroc_context), (cue, TRUTH[name].auroc_cue)):
        interval = stats.auroc(values[few].ravel(), label[few].ravel(), problem)
        error = (interval.high - interval.low) / (2 * 1.96)
        assert abs(interval.estimate - truth) < TOO_FAR * error


def test_frequencies_in_texts_agree_with_the_text_model(texts: PlantedTexts) -> None:
    model, places = PLANTED.text, texts.places
    assert model.probability().sum() == pytest.approx(1.0, abs=1e-12)
    context, error = places.context.mean(axis=0), np.sqrt(model.context_on * (1 - model.context_on) / 3000)
    assert (np.abs(context - model.context_on) < 4 * error).all()
    assert (np.diff(places.context.astype(int), axis=1) >= 0).all()  # it stays on
    frequency = np.bincount(places.token.ravel(), minlength=28) / places.token.size
    np.testing.assert_allclose(frequency, model.probability().sum(axis=(0, 1, 3)), rtol=0.08)


def test_the_stream_is_the_sum_of_offset_features_and_noise(texts: PlantedTexts) -> None:
    noise = texts.residual - PLANTED.offset - texts.activations @ PLANTED.directions
    flat = noise.reshape(-1, PLANTED.d_model)
    np.testing.assert_allclose(flat.std(axis=0), PLANTED.noise_std, rtol=0.02)
    assert np.abs(flat.mean(axis=0) / PLANTED.noise_std).max() < 5 / np.sqrt(len(flat))
    ratio = PLANTED.noise_std[PLANTED.outliers] ** 2 / PLANTED.noise**2
    assert len(ratio) == 3 and (ratio >= 10).all() and (ratio <= 100).all()
    mean = texts.residual.mean(axis=(0, 1))
    spread = np.linalg.norm(texts.residual - mean, axis=-1).mean()
    assert np.linalg.norm(mean) > 3 * spread  # a common mean larger than what is said
    assert np.linalg.norm(PLANTED.offset[PLANTED.outliers]) > 0.7 * PLANTED.offset_norm


def test_the_readout_meets_each_overlapping_direction_with_its_weight() -> None:
    gram = PLANTED.directions @ PLANTED.directions.T
    np.testing.assert_allclose(np.diag(gram), 1.0, atol=1e-12)
    assert np.abs(gram - np.eye(len(gram))).max() > 0.2
    weights = [feature.readout_weight for feature in PLANTED.features]
    np.testing.assert_allclose(PLANTED.directions @ PLANTED.readout, weights, atol=1e-12)


def test_ablating_a_dormant_feature_changes_no_log_odds(texts: PlantedTexts) -> None:
    dormant, context = (PLANTED.index(name) for name in ("dormant", "context"))
    both = texts.activations[..., [dormant, context]].reshape(-1, 2) > 0
    assert np.corrcoef(both.T)[0, 1] > 0.8
    assert TRUTH["dormant"].auroc_context > 0.9 and not TRUTH["dormant"].necessary
    change = {}
    for f in (dormant, context):
        ablated = texts.residual.astype(float) - texts.activations[..., [f]] * PLANTED.directions[f]
        assert np.abs(ablated - texts.residual).max() > 1.0
        change[f] = PLANTED.log_odds(ablated) - PLANTED.log_odds(texts.residual)
    np.testing.assert_allclose(change[dormant], 0.0, atol=1e-10)
    np.testing.assert_allclose(change[context], -0.6 * texts.activations[..., context], atol=1e-10)
    mean, error = by_text(change[context][..., None])
    assert abs(mean[0] - TRUTH["context"].effect) < 3 * error[0] and TRUTH["context"].effect < -0.5


def test_features_with_a_readout_weight_are_necessary_and_no_others(texts: PlantedTexts) -> None:
    assert {row.name for row in TRUTH.values() if row.necessary} == {"context", "conjunctive"}
    assert TRUTH["dormant"].effect == 0.0
    odds = PLANTED.log_odds(texts.residual)
    assert np.array_equal(odds, texts.log_odds)
    p = 1 / (1 + np.exp(-texts.log_odds))
    rate, error = by_text((texts.onset - p)[..., None])
    assert 0.02 < texts.onset.mean() < 0.5 and abs(rate[0]) < 3 * error[0]


def test_an_absorbed_feature_is_silent_where_its_twin_fires(texts: PlantedTexts) -> None:
    general, twin = (texts.activations[..., PLANTED.index(name)] > 0 for name in ("any cue", "cue 0"))
    token = texts.places.token
    assert not (general & twin).any()
    assert general[(token > 0) & (token < 4)].mean() > 0.9
    assert general[token == 0].mean() == 0.0 and twin[token == 0].all()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("cue 0", "token-driven"),
        ("any cue", "token-driven"),
        ("token", "token-driven"),
        ("context", "context-driven"),
        ("conjunctive", "conjunctive"),
        ("position", "position-driven"),
        ("insertion", "insertion-artefact"),
        ("dense", "no signal"),
        ("dormant", "context-driven"),
        ("silent", "no signal"),
    ],
)
def test_the_answer_of_the_2x2(name: str, answer: str) -> None:
    assert TRUTH[name].answer == answer


def test_a_feature_of_two_causes_is_mixed() -> None:
    features = (
        PlantedFeature("context", "context", rate=0.5, leak=0.0),
        PlantedFeature("cue unless context", "absorbed", twin="context"),
    )
    assert planted_truth(PlantedDictionary(features))[1].answer == "mixed"


@pytest.mark.parametrize("position_matched", [True, False])
def test_cells_agree_with_enumeration(position_matched: bool) -> None:
    cells = planted_cells(PLANTED, n=4000, seed=2, position_matched=position_matched)
    truth = cell_truth(PLANTED, position_matched=position_matched)
    for behaviour in (False, True):
        for inserted in INSERTED:
            values = cells.read(behaviour=behaviour, inserted=inserted)
            mean, error = values.mean(axis=0), values.std(axis=0) / np.sqrt(len(values))
            exact = truth._asdict()[inserted][int(behaviour)]
            assert (np.abs(mean - exact) <= 4 * error + 1e-12).all()  # 60 comparisons
    position = PLANTED.index("position")
    confounded = truth.context_effect[position]
    assert (confounded == pytest.approx(0.0, abs=1e-12)) if position_matched else (confounded > 1.0)


def test_effects_of_cells_equal_the_gain_of_their_kind() -> None:
    truth, at = cell_truth(PLANTED), {name: PLANTED.index(name) for name in NAMES}
    gain = 4.0 * (0.95 - 0.02)
    assert truth.token_effect[at["token"]] == pytest.approx(gain)
    assert truth.context_effect[at["context"]] == pytest.approx(gain)
    assert truth.interaction[at["conjunctive"]] == pytest.approx(gain)
    assert truth.placebo_effect[at["insertion"]] == pytest.approx(gain)
    assert truth.token_effect[at["insertion"]] == pytest.approx(
        gain
    )  # what a 2x2 without placebo takes for a token
    assert truth.placebo_effect[at["token"]] == pytest.approx(0.0, abs=1e-12)


def test_paired_texts_differ_at_the_slot_and_are_shifted_after_it() -> None:
    cells, n = planted_cells(PLANTED, n=200, seed=3), np.arange(200)
    for behaviour in (False, True):
        absent, cue, placebo = (cells.texts[behaviour, inserted].places for inserted in INSERTED)
        slot = cells.slot[behaviour]
        assert np.array_equal(slot, cells.slot[True])  # matched
        assert (
            (absent.token >= 4).all()
            and (cue.token[n, slot] < 4).all()
            and (placebo.token[n, slot] >= 4).all()
        )
        before_slot = np.arange(48) < slot[:, None]
        from_slot = np.arange(47) >= slot[:, None]
        for other in (cue, placebo):
            assert np.array_equal(other.token[before_slot], absent.token[before_slot])
            assert np.array_equal(other.token[:, 1:][from_slot], absent.token[:, :-1][from_slot])
            assert other.disfluent.sum() == 200 and other.disfluent[n, slot].all()
        assert not absent.disfluent.any()
        assert (absent.context[n, slot] == behaviour).all()
    neutral = cells.texts[False, "absent"].places
    assert (
        np.array_equal(neutral.token, cells.texts[True, "absent"].places.token) and not neutral.context.any()
    )
    early = planted_cells(PLANTED, n=200, seed=3, position_matched=False)
    assert early.slot[False].mean() < early.slot[True].mean() - 5
    assert cells.residual(behaviour=True, inserted="cue").shape == (200, 64)


def test_draws_are_a_function_of_their_seed() -> None:
    a, b, c = (planted_texts(PLANTED, n=5, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(a.residual, b.residual) and not np.array_equal(a.residual, c.residual)
    assert not np.array_equal(one_of_each(seed=1).directions, PLANTED.directions)


TOKEN = PlantedFeature("a", "token")


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: PlantedFeature("a", "dormant"), DataError, "twin None"),
        (lambda: PlantedFeature("a", "token", twin="b"), DataError, "twin 'b'"),
        (lambda: PlantedFeature("a", "dormant", twin="b", readout_weight=1.0), DataError, "is read"),
        (lambda: PlantedFeature("a", "tokn"), UnknownNameError, "conjunctive"),  # pyright: ignore[reportArgumentType]
        (lambda: PlantedFeature("a", "token", rate=2.0), DataError, "rate=2.0"),
        (lambda: PlantedFeature("a", "token", strength=0.0), DataError, "strength 0.0"),
        (lambda: PlantedDictionary((TOKEN, TOKEN)), DuplicateNameError, "'a'"),
        (
            lambda: PlantedDictionary((PlantedFeature("b", "absorbed", twin="a"), TOKEN)),
            UnknownNameError,
            "twin 'a'",
        ),
        (lambda: PlantedDictionary((PlantedFeature("a", "token", cues=(9,)),)), DataError, "0 to 3"),
        (lambda: PlantedDictionary(TOKEN), ArgumentError, "features is a PlantedFeature"),
        (lambda: PlantedDictionary(("token",)), ArgumentError, r"features\[0\] is the string"),
        (lambda: PlantedFeature("a", "token", rate="1"), ArgumentError, "rate is the string"),
        (lambda: one_of_each(d_model=8), DataError, "10 features in 8"),
        (lambda: PlantedDictionary((TOKEN,), noise=0.0), DataError, "noise 0.0"),
        (lambda: TextModel(length=1), DataError, "length 1"),
        (lambda: TextModel(p_behaviour=0.0), DataError, "p_behaviour"),
        (lambda: TextModel(p_cue=(0.0, 1.5)), DataError, "p_cue_on=1.5"),
        (lambda: planted_texts(PLANTED, n=0), DataError, "0 texts"),
        (lambda: planted_cells(PLANTED, n=0), DataError, "0 texts"),
        (lambda: PLANTED.index("contxt"), UnknownNameError, "dormant"),
    ],
)
def test_values_outside_their_range_raise(wrong: object, error: type[ReasonmechError], message: str) -> None:
    assert callable(wrong)
    with pytest.raises(error, match=message):
        wrong()
