"""Attempts on planted features: lexical ones are refuted, those of the context survive; and on a host."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from reasonmech import simulators as sim
from reasonmech.errors import DataError, MismatchError
from reasonmech.labels import Labels
from reasonmech.locate import Search
from reasonmech.locate.falsify import (
    Baselines,
    Candidates,
    Corpus,
    Counterexamples,
    Crossed,
    CrossedText,
    Example,
    LLMGenerator,
    Residualised,
    TriggerSwap,
    crossed,
    random_twin,
    read_cells,
    read_examples,
    swap_words,
)
from reasonmech.locate.falsify.baselines import bag_of_words
from reasonmech.locate.falsify.effects import EFFECTS
from reasonmech.locate.falsify.rule import Driven
from reasonmech.stats import auroc
from reasonmech.testing import tiny_coder, tiny_host
from tests.layouts import REAL_TEXT, layout_host
from tests.unit.locate.falsify.planted_corpus import (
    NAMES,
    PLANTED,
    ExactActivations,
    ExactCoder,
    candidates,
    corpus,
    labels_where,
)

CODER = ExactCoder()


def _outcomes(attempt, *names: str) -> dict[tuple[str, str], str]:
    findings = attempt.findings(CODER, candidates(*names))
    return {(NAMES[finding.feature], finding.attempt): finding.outcome for finding in findings}


def test_a_token_feature_has_no_residual_and_a_context_feature_keeps_its_own() -> None:
    outcomes = _outcomes(Residualised(corpus()), "token", "context", "silent")
    assert outcomes == {
        ("token", "token residual"): "refuted",
        ("context", "token residual"): "survives",
        ("silent", "token residual"): "refuted",
    }


def _vocabulary(*, behaves: bool) -> Corpus:
    """5,000 tokens, of which 400 rare ones go with the behaviour; the feature fires on those, or on the
    behaviour."""
    rng = np.random.default_rng(0)
    n, rows = 100, 60
    often = 1 / np.arange(1, 5001)
    token = rng.choice(5000, size=(n, rows), p=often / often.sum())
    words = np.isin(token, 20 + rng.permutation(4980)[:400])
    positive = rng.random((n, rows)) < np.where(words, 0.7, 0.05)
    fires = rng.random((n, rows)) < np.where(positive if behaves else words, 0.95, 0.02)
    index = {
        "rollout": np.repeat(np.arange(n), rows),
        "position": np.tile(np.arange(rows), n),
        "token": token.ravel(),
    }
    acts = ExactActivations(torch.from_numpy(4.0 * fires.reshape(-1, 1)), pd.DataFrame(index), rows)
    rollouts = [
        replace(made, ids=(), prompt_ids=tuple(r)) for made, r in zip(corpus(n).rollouts, token, strict=True)
    ]
    problem = np.array([f"p{r}" for r in index["rollout"]])
    labels = Labels("planted", "recognises", index["rollout"], index["position"], positive.ravel(), problem)
    return Corpus(acts, labels, rollouts, Search(draws=300))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("behaves", "outcome"), [(False, "refuted"), (True, "survives")])
def test_a_feature_of_many_rare_words_is_a_token_feature(behaves: bool, outcome: str) -> None:
    labelled, one = _vocabulary(behaves=behaves), Candidates((0,), np.ones(1))
    (residual,) = Residualised(labelled).findings(CODER, one)
    assert residual.outcome == outcome and "that read the same token" in residual.reason
    plain = auroc(
        labelled.acts.rows(CODER.site, labelled.labels)[:, 0],
        labelled.labels.positive,
        labelled.labels.problem,
    )
    assert plain.low > 0.62  # the word class alone passes for a detector
    by_name = {finding.attempt: finding.outcome for finding in Baselines(labelled).findings(CODER, one)}
    assert by_name["token"] == by_name["bag of words"] == outcome


def test_a_token_that_tells_everything_leaves_a_feature_undecided() -> None:
    labelled = _vocabulary(behaves=True)
    token = labelled.known["delimiter"].to_numpy()
    labels = replace(labelled.labels, positive=np.isin(token, np.unique(token)[::2]))
    (finding,) = Residualised(replace(labelled, labels=labels)).findings(CODER, Candidates((0,), np.ones(1)))
    assert finding.outcome == "undecided" and "in 0 problems" in finding.reason and np.isnan(finding.value)


def test_baselines_explain_lexical_and_positional_features_and_not_the_context() -> None:
    labelled = corpus(80)
    outcomes = _outcomes(Baselines(labelled), "token", "context", "position")
    assert {name for (_, name) in outcomes} == {"token", "position", "bag of words"}
    assert [outcomes["context", name] for name in ("token", "position", "bag of words")] == ["survives"] * 3
    assert outcomes["token", "token"] == "refuted"
    assert outcomes["position", "position"] == "refuted"
    entropy = np.where(
        labelled.labels.positive, 0.1, 2.0
    )  # an entropy that knows the answer leaves nothing to add
    known = _outcomes(Baselines(labelled, entropy=entropy), "context")
    assert known["context", "entropy"] == "refuted"
    with pytest.raises(DataError, match="entropies"):
        _outcomes(Baselines(labelled, entropy=entropy[:5]), "context")


def test_the_kind_of_the_sentence_before_may_tell_everything() -> None:
    """As it does among all boundaries of a thinking model's text: after a step comes a check."""
    labelled = corpus(80)
    previous = np.where(labelled.labels.positive, "step", "check")
    baselines = Baselines(labelled, previous=previous)
    assert _outcomes(baselines, "context")["context", "previous kind"] == "refuted"
    alone = baselines.alone().set_index("baseline")
    assert list(alone.index) == ["token", "position", "bag of words", "previous kind"]
    assert alone.loc["previous kind", "value"] == 1.0 and alone.loc["position", "value"] < 0.9
    idle = np.resize(["step", "check"], len(previous))  # a kind that says nothing takes nothing away
    assert _outcomes(Baselines(labelled, previous=idle), "context")["context", "previous kind"] == "survives"
    with pytest.raises(DataError, match="previous kinds"):
        _outcomes(Baselines(labelled, previous=previous[:5]), "context")


def test_a_bag_counts_words_and_forgets_their_order() -> None:
    words = [(1, 2), (2, 1), (1, 1), (3, 9)]
    bag = bag_of_words(words, train=np.array([True, True, True, False]))
    assert np.array_equal(bag[0], bag[1]) and not np.array_equal(bag[0], bag[2])
    assert bag.shape == (4, 3)  # intercept, 1 and 2: nobody saw 3 or 9 in training


def test_a_swapped_trigger_parts_function_and_word() -> None:
    labelled = corpus()
    texts = sim.planted_texts(PLANTED, n=60, seed=0)
    word = labels_where(texts.places.token < PLANTED.text.n_cues)
    outcomes = _outcomes(TriggerSwap(labelled, word), "token", "context")
    assert outcomes == {("token", "trigger swap"): "refuted", ("context", "trigger swap"): "survives"}
    rng = np.random.default_rng(0)
    noise = replace(
        labelled, labels=replace(labelled.labels, positive=rng.random(len(labelled.labels)) < 0.3)
    )
    against_it = replace(word, positive=~labelled.labels.positive)  # the feature is silent at it
    outcomes = _outcomes(TriggerSwap(noise, against_it), "context")
    assert outcomes["context", "trigger swap"] != "survives"  # above the word, not with the function


def test_swapped_words_change_their_tokens_and_nothing_else() -> None:
    host = tiny_host()
    rollout = replace(corpus(20).rollouts[0], prompt_ids=(7, 8), ids=(7, 9, 8))
    (swapped,) = swap_words([rollout], {7: 20, 8: 21})
    assert swapped.ids == (20, 9, 21) and swapped.prompt_ids == (7, 8)
    with pytest.raises(DataError, match="none of the tokens"):
        swap_words([rollout], {60: 61})
    assert host.weight_hash


def test_a_coder_of_another_model_is_refused() -> None:
    with pytest.raises(MismatchError, match="trained on weights"):
        Residualised(corpus()).findings(ExactCoder(model_hash="host-b"), candidates("token"))


@pytest.fixture(scope="module")
def host():
    return tiny_host()


@pytest.fixture(scope="module")
def coder(host):
    return tiny_coder(host, "resid_post.1", d_sae=48, k=6)


def _texts(host, n: int = 24) -> list[CrossedText]:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in rng.integers(0, 50, (n, 6)).ravel()]
    return [
        crossed(
            host.encode,
            problem=f"t{i}",
            contexts=(" ".join(words[6 * i : 6 * i + 5]), " ".join([*words[6 * i : 6 * i + 4], "w51"])),
            after=words[6 * i + 5],
            cue="w52",
            placebo="w53",
        )
        for i in range(n)
    ]


def test_a_bos_stays_in_front_of_the_contexts_only(host) -> None:
    def encode(text: str) -> list[int]:
        return [1, *host.encode(text)]

    with_bos = crossed(
        encode, problem="t", contexts=("w1 w2", "w3 w4"), after="w5 w6", cue="w52", placebo="w53"
    )
    without = crossed(
        host.encode, problem="t", contexts=("w1 w2", "w3 w4"), after="w5 w6", cue="w52", placebo="w53"
    )
    assert with_bos.neutral == (1, *without.neutral) and with_bos.behaviour == (1, *without.behaviour)
    assert (with_bos.after, with_bos.cue, with_bos.placebo) == (without.after, without.cue, without.placebo)


@pytest.mark.parametrize("name", REAL_TEXT)
def test_pieces_have_the_tokens_that_they_have_in_the_text(name: str) -> None:
    host = layout_host(name)
    contexts = ("So x is 4 + 3 = 7.", "So y is 4 + 3 = 8.")
    text = crossed(
        host.encode, problem="t", contexts=contexts, after=" Now it is 4.", cue=" Wait,", placebo=" Yes,"
    )
    for context, ids in zip(contexts, (text.neutral, text.behaviour), strict=True):
        assert [*ids, *text.after] == host.encode(context + " Now it is 4.")
        assert [*ids, *text.cue, *text.after] == host.encode(context + " Wait, Now it is 4.")
        assert [*ids, *text.placebo, *text.after] == host.encode(context + " Yes, Now it is 4.")


@pytest.mark.parametrize("name", REAL_TEXT)
def test_a_piece_that_shares_a_token_with_the_text_before_it_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="shares a token with the text before it"):
        crossed(
            layout_host(name).encode,
            problem="t",
            contexts=("It is ", "So "),
            after="x",
            cue="Wait",
            placebo="y",
        )


def test_cells_are_the_largest_activation_in_the_window_of_each_version(host, coder) -> None:
    texts, features = _texts(host), (3, 11, 20, 40)
    cells = read_cells(host, texts, coder, features=features, before=1)
    for i in (0, 7, 23):
        text = texts[i]
        for prefix, versions in ((text.neutral, cells.neutral), (text.behaviour, cells.behaviour)):
            for inserted, values in zip(((), text.cue, text.placebo), versions, strict=True):
                ids = torch.tensor([[*prefix, *inserted, *text.after]])
                stream = host.model(ids, output_hidden_states=True).hidden_states[2][0, 4:6]
                expected = coder.encode(stream)[:, list(features)].amax(0).detach().numpy()
                assert values[i] == pytest.approx(expected, abs=1e-4)
    assert np.ptp(cells.neutral.cue - cells.neutral.placebo) > 0.1
    assert np.array_equal(cells.slots[0], np.full(24, 5)) and cells.problem[7] == "t7"


def test_crossed_gives_each_candidate_its_leading_effect(host, coder) -> None:
    findings = Crossed(host, _texts(host)).findings(coder, Candidates((3, 11), np.array([1.0, 1.0])))
    assert [finding.feature for finding in findings] == [3, 11]
    assert all(finding.low <= finding.value <= finding.high for finding in findings)
    assert all(
        finding.statistic.removeprefix("effect: ") in finding.reason or "never" in finding.reason
        for finding in findings
    )


@pytest.mark.parametrize(("value", "outcome"), [(0.8, "survives"), (-0.8, "refuted")])
def test_a_feature_that_the_context_silences_does_not_detect_it(host, value: float, outcome: str) -> None:
    effects = np.where(np.array(EFFECTS) == "context", value, 0.0)
    driven = Driven("context-driven", "context-driven: ...", effects, effects - 0.1, effects + 0.1, "context")
    finding = Crossed(host, _texts(host))._finding(3, driven)
    assert finding.outcome == outcome and finding.value == value
    assert finding.reason.startswith("silenced") == (value < 0) and finding.reason.endswith(
        "context-driven: ..."
    )


def test_texts_that_cannot_be_read_are_refused(host, coder) -> None:
    texts = _texts(host)
    longer = [texts[0]._replace(placebo=(7, 8)), *texts[1:]]
    with pytest.raises(DataError, match="placebo of 2"):
        read_cells(host, longer, coder, features=(1,))
    with pytest.raises(DataError, match="no texts"):
        read_cells(host, [], coder, features=(1,))
    with pytest.raises(DataError, match="window"):
        read_examples(host, [Example("a", (7, 8), 1, 3, True, "")], coder, features=(1,))
    with pytest.raises(MismatchError):
        read_cells(tiny_host(seed=1), texts, coder, features=(1,))


class _Random:
    """Examples that end in w51 or not."""

    def examples(self, n: int, *, seed: int):
        rng = np.random.default_rng(seed)
        rows = []
        for i in range(n):
            ids = (*map(int, rng.integers(6, 50, 5)), 57 if i % 2 else 30)
            rows.append(Example(f"e{i}", ids, 5, 6, bool(i % 2), "w51" if i % 2 else "w24"))
        return rows


def test_counterexamples_are_valued_one_by_one(host, coder) -> None:
    examples = _Random().examples(60, seed=4)
    values = read_examples(host, examples, coder, features=range(48))
    positive = np.array([e.positive for e in examples])
    gaps = values[positive].mean(0) - values[~positive].mean(0)
    best, worst = int(gaps.argmax()), int(gaps.argmin())
    attempt = Counterexamples(host, _Random(), n=60, seed=4, floor=0.6)
    good, bad = attempt.findings(coder, Candidates((best, worst), np.zeros(2)))
    expected = auroc(values[:, best], positive, [e.problem for e in examples])
    assert (good.value, good.low, good.high) == expected[:3] and good.outcome == "survives"
    assert bad.outcome == "refuted" and "'w24'" in bad.reason


def test_a_language_model_is_asked_for_both_kinds(host, coder) -> None:
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return "\n".join(f"w{i} w{i + 1} w{20 + 20 * len(prompts)}" for i in range(15))

    generator = LLMGenerator(ask, host.encode, behaviour="somebody doubts", words=("w1", "w2"))
    examples = generator.examples(30, seed=0)
    assert [e.positive for e in examples] == [True] * 15 + [False] * 15
    assert "without the words 'w1', 'w2'" in prompts[0] and "use the words" in prompts[1]
    assert {(e.start, e.stop) for e in examples} == {
        (1, 3)
    }  # attention sinks on the first token, or on a BOS
    assert Counterexamples(host, generator, n=30).findings(coder, Candidates((1,), np.zeros(1)))
    with pytest.raises(DataError, match="15 of 20"):
        generator.examples(40, seed=0)


def test_a_random_twin_is_another_model_and_leaves_the_host_alone(host) -> None:
    before = host.weight_hash
    twin, again = random_twin(host, seed=1), random_twin(host, seed=1)
    assert twin.weight_hash == again.weight_hash != before == tiny_host().weight_hash
    assert random_twin(host, seed=2).weight_hash != twin.weight_hash
    assert twin.encode("w1 w2") == host.encode("w1 w2")
