"""On a real host and coder: views and readouts show what the model and the coder compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reasonmech.errors import ArgumentError, DataError, MismatchError
from reasonmech.hosts import Host
from reasonmech.interventions import Direction, Features
from reasonmech.labels import Labels
from reasonmech.locate import Search, direction, locate, logit_lens, next_token, onset_probability
from reasonmech.locate.feature_summary.tokens import token_frame, token_pieces
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout, Sentence, Trace
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.activations.keep import Keep, TopCodes
from reasonmech.testing import tiny_coder, tiny_host
from reasonmech.viz import look

TEXT = "w1 w2 <think> w3 . w4 </think> w5"


@pytest.fixture(scope="module")
def host() -> Host:
    return tiny_host()


@pytest.fixture(scope="module")
def coder(host: Host):
    return tiny_coder(host, "resid_post.1", d_sae=48, k=6)


@pytest.fixture(scope="module")
def rollouts(host: Host) -> list[Rollout]:
    rng = np.random.default_rng(0)
    made = []
    for i in range(40):
        ids = tuple(int(t) for t in rng.integers(6, 64, 12))
        flags = (False,) * 9
        made.append(
            Rollout(Problem(f"p{i}", "", ""), 0, ids[:3], ids[3:], flags, flags, "eos", host.decode(ids[3:]))
        )
    return made


@pytest.fixture(scope="module")
def labels(rollouts: list[Rollout]) -> Labels:
    """Positive where the next token is even: half of the rows, in every problem."""
    rows = [(r, p, rollouts[r].all_ids[p + 1] % 2 == 0, f"p{r}") for r in range(40) for p in range(2, 11)]
    rollout, position, positive, problem = map(np.array, zip(*rows, strict=True))
    return Labels("even", "anticipates", rollout, position, positive, problem)


def test_next_token_is_what_the_model_predicts(host: Host, rollouts: list[Rollout], labels: Labels) -> None:
    prediction = next_token(host, rollouts, labels, {7, 9})
    for row in (0, 17, 200):
        ids = torch.tensor([rollouts[labels.rollout[row]].all_ids[: labels.position[row] + 1]])
        p = host.model(ids).logits[0, -1].detach().softmax(-1)
        assert prediction.onset_probability[row] == pytest.approx(float(p[7] + p[9]), abs=1e-5)
        assert prediction.entropy[row] == pytest.approx(float(-(p * p.log()).nansum()), abs=1e-4)
    assert prediction.onset_probability.std() > 0
    assert np.array_equal(onset_probability(host, rollouts, labels, {7, 9}), prediction.onset_probability)
    last = capture(host, rollouts, ["resid_post.3"], progress=False)
    assert next_token(host, rollouts, labels, {7, 9}, acts=last).equals(prediction)
    with pytest.raises(DataError, match="no onset token"):
        next_token(host, rollouts, labels, ())


def test_locate_reads_captured_activations_and_refuses_another_hosts(
    host: Host, rollouts, labels, coder
) -> None:
    acts = capture(host, rollouts, ["resid_post.1"], progress=False)
    table = locate(acts, labels, coder)
    dense = coder.encode(acts.rows("resid_post.1", labels)).numpy()
    row = table.frame[(table.frame.kind == "feature")].set_index("feature")
    assert np.allclose(row.rate, (dense > 0).mean(0))
    assert row.rate.max() > 0.05
    stranger = capture(tiny_host(seed=1), rollouts, ["resid_post.1"], progress=False)
    with pytest.raises(MismatchError):
        locate(stranger, labels, coder)


def test_a_store_of_codes_is_searched_as_the_stream_is_but_for_the_baselines(
    host: Host, rollouts, labels, coder
) -> None:
    kept = capture(host, rollouts, ["resid_post.1"], keep=Keep(codes=TopCodes(coder, 6)), progress=False)
    stream = capture(host, rollouts, ["resid_post.1"], progress=False)
    search = Search(top=4, draws=100)
    here, there = (locate(acts, labels, coder, search=search).frame for acts in (kept, stream))
    assert set(here.kind) == {"feature"} and set(there.kind) == {"feature", "diff_mean", "probe"}
    columns = ["train_value", "p", "rate", "mean_active", "value", "low"]
    features = there[there.kind == "feature"]
    assert np.ptp(features.train_value) > 0.02
    assert np.allclose(here[columns], features[columns], atol=1e-4, equal_nan=True)  # k = 6 is all there is
    with pytest.raises(MismatchError, match="the store kept features of"):
        locate(kept, labels, tiny_coder(host, "resid_post.1", d_sae=48, k=6, seed=1), search=search)


@pytest.mark.parametrize("as_rollout", [False, True])
def test_look_shows_what_the_coder_reads(
    host: Host, coder, rollouts: list[Rollout], as_rollout: bool
) -> None:
    text = rollouts[0] if as_rollout else TEXT
    ids = list(rollouts[0].all_ids) if as_rollout else host.encode(TEXT)
    x = capture(host, [text], [coder.site], progress=False).at(coder.site)
    busy = coder.encode(x).sum(0).topk(2).indices.tolist()
    view = look(host, text, coder, busy)
    assert np.allclose(view.values, coder.encode(x)[:, busy].numpy())
    assert view.values.max() > 0
    assert "".join(view.pieces) == host.decode(ids)
    assert view.labels == tuple(f"{coder.name}/{i}" for i in busy)
    assert np.array_equal(look(host, text, Features(coder, tuple(busy))).values, view.values)
    assert np.array_equal(look(host, text, coder, Features(coder, tuple(busy))).values, view.values)


def test_look_reads_a_direction(host: Host, coder) -> None:
    vector = torch.nn.functional.normalize(torch.randn(32, generator=torch.Generator().manual_seed(0)), dim=0)
    view = look(host, TEXT, Direction(vector, coder.site, name="odd <b>"))
    x = capture(host, [TEXT], [coder.site], progress=False).at(coder.site)
    assert np.allclose(view.values[:, 0], (x @ vector).numpy(), atol=1e-6)
    assert "<b>" not in view.html.split("<body>")[1].split("<script")[0]


def test_look_says_what_is_missing(host: Host, coder) -> None:
    with pytest.raises(DataError, match="a coder of 48 features and none named"):
        look(host, TEXT, coder)
    with pytest.raises(ArgumentError, match=r"coder, \[1\]"):
        look(host, TEXT, coder, 1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="look at one"):
        look(host, [TEXT], coder, (1,))  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="both given"):
        look(host, TEXT, Features(coder, (1,)), (2,))
    with pytest.raises(MismatchError):
        look(tiny_host(seed=1), TEXT, coder, (1,))


def test_logit_lens_is_norm_and_head_of_the_vector(host: Host, coder) -> None:
    frame = logit_lens(host, Features(coder, (3, 5)), k=4)
    assert len(frame) == 2 * 2 * 4
    logits = host.logits_of(coder.rows((3,)))[0].detach()
    best = frame[(frame.axis == f"{coder.name}/3") & (frame.side == "promoted")]
    assert best.token_id.tolist() == logits.topk(4).indices.tolist()
    assert best.logit.tolist() == pytest.approx((logits - logits.mean()).topk(4).values.tolist(), abs=1e-4)
    worst = frame[(frame.axis == f"{coder.name}/5") & (frame.side == "suppressed")]
    assert worst.logit.is_monotonic_increasing
    assert best.token.iloc[0] == host.decode([int(best.token_id.iloc[0])])


def test_logit_lens_of_a_direction_is_named_after_it(host: Host, rollouts, labels: Labels) -> None:
    acts = capture(host, rollouts, ["resid_post.1"], progress=False)
    axis = direction(acts, labels, site="resid_post.1", method="probe")
    frame = logit_lens(host, axis, k=1000)
    assert set(frame.axis) == {"even probe"}
    assert len(frame) == 2 * 64


def test_token_frame_marks_slips_onsets_and_authors(host: Host) -> None:
    ids = tuple(host.encode("w1 w2 w3 w4 . w5"))
    environment = (False, True, False, True, False, False)
    rollout = Rollout(Problem("p", "", ""), 0, (7, 8), ids, environment, (True,) + (False,) * 5, "eos", "")
    sentences = (Sentence("step", 0, 3), Sentence("check", 3, 6))
    trace = Trace(rollout, sentences, (), marks={"slip": frozenset({1})})
    frame = token_frame("p", trace, host, {"f": np.arange(6.0)})
    assert frame.slip.tolist() == [False, True, False, False, False, False]
    assert frame.onset.tolist() == ["step", "", "", "check", "", ""]
    assert frame.environment.tolist() == list(environment)
    assert frame.steered.tolist() == [True] + [False] * 5
    assert "".join(frame.text) == host.decode([8, *ids])[len(host.decode([8])) :]
    with pytest.raises(DataError, match="2 activations in 'f' for 6"):
        token_frame("p", Trace(rollout, (), ()), host, {"f": np.zeros(2)})


def test_pieces_spell_the_text(host: Host) -> None:
    ids = host.encode(TEXT)
    pieces = token_pieces(host, ids)
    assert "".join(pieces) == host.decode(ids) == TEXT
    assert pieces[1] == " w2"
