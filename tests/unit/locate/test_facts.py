"""What is said of a feature is what its activations are, token by token."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reasonmech.behaviours import label
from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError, MismatchError
from reasonmech.hosts import Host, load_host
from reasonmech.interventions import Features
from reasonmech.locate.feature_summary import facts as module
from reasonmech.locate.feature_summary.facts import DisplayOptions, FeatureFacts, feature_facts
from reasonmech.locate.feature_summary.profile import onset_profile
from reasonmech.rollout import Trace
from reasonmech.runtime import Activations, capture
from reasonmech.tasks.chain import make_problem
from reasonmech.tasks.chain.parser import parse
from reasonmech.testing import tiny_coder, tiny_host
from tests.unit.tasks.chain_text import CAREFUL, CARELESS, GUESS, rollout

SITE = "resid_post.1"
FEATURES = (3, 11, 20, 41)


@pytest.fixture(scope="module")
def host() -> Host:
    return load_host("organism:tiny-when/base")


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    problems = [make_problem(8, [("+", 4), ("*", 3), ("-", 1)], id=f"hand/{i}") for i in range(6)]
    return [
        parse(rollout(text, problem=problem)) for problem in problems for text in (CAREFUL, CARELESS, GUESS)
    ]


@pytest.fixture(scope="module")
def acts(host: Host, traces: list[Trace]) -> Activations:
    return capture(host, [trace.rollout for trace in traces], [SITE], progress=False)


@pytest.fixture(scope="module")
def coder(host: Host) -> SparseCoder:
    return tiny_coder(host, SITE, d_sae=64, k=12)


@pytest.fixture(scope="module")
def facts(host: Host, traces: list[Trace], acts: Activations, coder: SparseCoder) -> list[FeatureFacts]:
    labels = [label(traces, "check"), label(traces, "backtrack")]
    return feature_facts(Features(coder, FEATURES), host, traces=traces, acts=acts, labels=labels)


def chosen_values(acts: Activations, coder: SparseCoder, feature: int) -> np.ndarray:
    values = coder.encode(acts.at(SITE))[:, feature].numpy()
    return values[(acts.index["generated"] & ~acts.index["by_environment"]).to_numpy()]


def test_rates_and_means_are_those_of_the_tokens_that_the_model_chose(
    facts: list[FeatureFacts], acts: Activations, coder: SparseCoder
) -> None:
    assert [f.feature for f in facts] == list(FEATURES) and any(f.rate > 0 for f in facts)
    for fact in facts:
        values = chosen_values(acts, coder, fact.feature)
        active = values[values > 0]
        assert fact.rate == len(active) / len(values)
        assert fact.mean_active == pytest.approx(active.mean() if len(active) else 0.0, rel=1e-6)
        kinds = fact.kinds
        assert kinds["n"].sum() == len(values)
        assert (kinds["rate"] * kinds["n"]).sum() == pytest.approx(len(active))
        known = kinds.dropna(subset=["low"])
        assert len(known) and (known["rate"] > 0).all()
        assert (known["low"] <= known["rate"]).all() and (known["rate"] <= known["high"]).all()


def test_examples_begin_with_the_highest_activation_and_show_what_the_coder_reads(
    facts: list[FeatureFacts], acts: Activations, coder: SparseCoder, host: Host
) -> None:
    fact = max(facts, key=lambda f: f.rate)
    generated = acts.index["generated"].to_numpy()
    values = coder.encode(acts.at(SITE))[:, fact.feature].numpy()
    assert fact.examples["activation"].max() == pytest.approx(values[generated].max())
    first = fact.examples[fact.examples["trace"] == fact.examples["trace"].iloc[0]]
    assert first["activation"].max() == fact.examples["activation"].max()
    assert set(fact.examples["where"]) == {"top", "middle"}


def test_a_profile_is_the_mean_at_each_offset_and_zero_is_the_first_word(
    acts: Activations, coder: SparseCoder, traces: list[Trace], facts: list[FeatureFacts]
) -> None:
    fact = max(facts, key=lambda f: f.rate)
    values, labels = coder.encode(acts.at(SITE))[:, fact.feature].numpy(), label(traces, "check")
    index = acts.index
    label_of = dict(zip(zip(labels.rollout, labels.position, strict=True), labels.positive, strict=True))
    for onset in (True, False):
        rows = fact.profile.query("behaviour == 'check' and onset == @onset")
        for offset in (-3, -1, 0, 2):
            wanted = []
            for r, p in zip(labels.rollout, labels.position, strict=True):
                if label_of[r, p] != onset:
                    continue
                at = index[
                    (index["rollout"] == r) & (index["position"] == p + 1 + offset) & index["generated"]
                ]
                wanted += values[at.index].tolist()
            line = rows[rows["offset"] == offset].iloc[0]
            assert line["n"] == len(wanted) > 0 and line["value"] == pytest.approx(np.mean(wanted), abs=1e-6)
            assert line["low"] <= line["value"] + 1e-6 and line["value"] <= line["high"] + 1e-6


def test_neighbours_are_the_most_similar_rows_without_itself(
    facts: list[FeatureFacts], coder: SparseCoder
) -> None:
    rows = torch.nn.functional.normalize(coder.rows(range(coder.d_sae)), dim=-1)
    for fact in facts:
        cosine = rows @ rows[fact.feature]
        cosine[fact.feature] = -2
        assert fact.neighbours["feature"].iloc[0] == int(cosine.argmax())
        assert fact.neighbours["cosine"].is_monotonic_decreasing and len(fact.neighbours) == 8


def test_a_store_read_by_chunks_gives_what_memory_gives(
    host: Host, traces: list[Trace], acts: Activations, coder: SparseCoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    axis = Features(coder, FEATURES)
    whole = feature_facts(axis, host, traces=traces, acts=acts)
    monkeypatch.setattr(module, "ROWS", 37)
    pieces = feature_facts(axis, host, traces=traces, acts=acts)
    for a, b in zip(whole, pieces, strict=True):
        assert a.rate == b.rate and a.mean_active == pytest.approx(b.mean_active, rel=1e-6)
        assert len(a.profile) == 0


def test_a_feature_that_never_fires_has_no_example(
    host: Host, traces: list[Trace], acts: Activations
) -> None:
    silent = tiny_coder(host, SITE, d_sae=64, k=1)
    codes = silent.encode(acts.at(SITE))
    never = int((codes > 0).sum(0).argmin())
    assert (codes[:, never] > 0).sum() == 0
    (fact,) = feature_facts(Features(silent, (never,)), host, traces=traces, acts=acts)
    assert (fact.rate, fact.mean_active, fact.peak) == (0.0, 0.0, 0.0) and len(fact.examples) == 0


def test_what_fires_where_the_environment_writes_is_not_said_to_be_silent(
    host: Host, traces: list[Trace], acts: Activations, coder: SparseCoder, facts: list[FeatureFacts]
) -> None:
    codes, index = coder.encode(acts.at(SITE)).numpy(), acts.index
    written = index["by_environment"].to_numpy()
    assert written.any()
    for fact in facts:
        assert fact.environment_rate == (codes[written, fact.feature] > 0).mean()
    chosen = index["generated"].to_numpy() & ~written
    silent = module._kinds(np.zeros(chosen.sum()), module._layout(acts, traces), draws=20)
    assert not silent["rate"].any() and silent["high"].isna().all()
    guesses = [parse(rollout(GUESS, problem=trace.rollout.problem)) for trace in traces[:2]]
    alone = capture(host, [trace.rollout for trace in guesses], [SITE], progress=False)
    assert not alone.index["by_environment"].any()
    (fact,) = feature_facts(Features(coder, FEATURES[:1]), host, traces=guesses, acts=alone)
    assert fact.environment_rate is None


def test_two_texts_of_one_name_are_shown_apart(host: Host, traces: list[Trace], coder: SparseCoder) -> None:
    twice = traces[:2] * 2  # as when both models answer one problem
    acts = capture(host, [trace.rollout for trace in twice], [SITE], progress=False)
    (fact,) = feature_facts(Features(coder, FEATURES[:1]), host, traces=twice, acts=acts)
    assert fact.rate > 0 and fact.examples["trace"].nunique() == 4


def test_labels_of_other_texts_are_refused(
    host: Host, traces: list[Trace], acts: Activations, coder: SparseCoder
) -> None:
    axis, turned = Features(coder, FEATURES[:1]), label(traces[::-1], "check")
    with pytest.raises(MismatchError, match="made from other rollouts"):
        feature_facts(axis, host, traces=traces, acts=acts, labels=[turned])


def test_what_does_not_belong_together_is_refused(
    host: Host, traces: list[Trace], acts: Activations, coder: SparseCoder
) -> None:
    axis = Features(coder, FEATURES)
    with pytest.raises(DataError, match="traces"):
        feature_facts(axis, host, traces=traces[:-1], acts=acts)
    with pytest.raises(DataError, match="inside spans"):
        feature_facts(
            axis, host, traces=traces, acts=acts, labels=[label(traces, "check", mode="recognises")]
        )
    thinking = load_host("organism:tiny-when/thinking")
    other = capture(thinking, [trace.rollout for trace in traces], [SITE], progress=False)
    with pytest.raises(MismatchError, match="not of"):
        feature_facts(axis, host, traces=traces, acts=other)
    with pytest.raises(MismatchError):
        feature_facts(axis, tiny_host(), traces=traces, acts=acts)
    few = feature_facts(axis, host, traces=traces, acts=acts, display=DisplayOptions(top=1, middle=0))
    assert all(f.examples["trace"].nunique() <= 1 for f in few)


def test_few_problems_carry_no_interval(acts: Activations, traces: list[Trace]) -> None:
    few = traces[:6]
    labels = label(few, "check")
    few_acts = capture(load_host("organism:tiny-when/base"), [t.rollout for t in few], [SITE], progress=False)
    profile = onset_profile(np.ones(few_acts.n_tokens), module._layout(few_acts, few), [labels], reach=2)
    assert profile["low"].isna().all() and (profile["value"] == 1.0).all()
