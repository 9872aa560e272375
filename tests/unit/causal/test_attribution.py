"""attribute and audit: what their tables say, what is refused, what they leave as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from reasonmech.causal.attribution import IntegratedGradients, Method, attribute
from reasonmech.causal.audit import _count_unseen, _missed, audit
from reasonmech.causal.coder_set import CoderSet
from reasonmech.causal.text_pairs import TextPairs
from reasonmech.errors import DataError, MismatchError, NonFiniteError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.metrics import logit_diff, next_token_kl
from reasonmech.runtime import gradients as gradients_module
from reasonmech.runtime import streams as streams_module
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.gradients import gradients
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.readout import Reading, Run
from reasonmech.runtime.streams import ChosenTokens, read_streams
from reasonmech.step import Step
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
METRIC = logit_diff(HOST, good="w7", bad="w8")
CLEAN = ["w1 w2 . w3 w9", "w5 w4 w8", "w1 w1 w4", "w2 . w2 w20"]
CORRUPT = ["w1 w7 . w3 w9", "w6 w4 w8", "w1 w2 w4", "w2 . w3 w20"]
PAIRS = TextPairs(CLEAN, CORRUPT)
CODERS = [tiny_coder(HOST, "resid_post.1"), tiny_coder(HOST, "mlp_out.2", seed=1)]


@dataclass(frozen=True)
class Odd:
    """A metric that misbehaves in one way."""

    way: str
    name = "odd"
    unit = "odds"

    def continuations(self, host: Host, n_texts: int) -> Sequence[Sequence[Run]]:
        return [()] * n_texts

    def value(self, reading: Reading) -> Tensor:
        first = reading.logits[:, 5]
        match self.way:
            case "constant":
                return torch.ones(len(first))
            case "detached":
                return first.detach()
            case "zero":
                return 0 * first
            case "nan":
                return torch.where(reading.rows == 2, first * torch.nan, first)
            case "steep":
                flat = first - first.detach()
                return torch.stack(
                    [flat[i].sqrt() if row == 2 else first[i] for i, row in enumerate(reading.rows)]
                )
            case "tiny":
                return 1e-9 * first
        return first.shape  # type: ignore[return-value]


def test_tables_add_up_and_name_what_differs() -> None:
    attribution = attribute(HOST, PAIRS, CODERS, metric=METRIC)
    table = attribution.table
    assert (
        list(table["effect"].abs()) == sorted(table["effect"].abs(), reverse=True)
        and table["effect"].abs().max() > 0
    )
    assert set(table["site"]) == {"resid_post.1", "mlp_out.2"} and set(table["unit"]) == {"logits"}
    assert (table["feature"].isna() == (table["node"] == "error")).all()
    keys = ["site", "node", "feature"]
    for finer in (attribution.by_position, attribution.by_text):
        scale = len(CLEAN) if "text" in finer else 1
        sums = finer.groupby(keys, dropna=False)["effect"].sum().sort_index() / scale
        np.testing.assert_allclose(sums, table.set_index(keys)["effect"].sort_index(), atol=1e-6)
    assert set(attribution.by_text["text"]) == set(range(len(CLEAN)))
    both = attribution.by_site.set_index("site")
    np.testing.assert_allclose(both["total"], table.groupby("site")["effect"].sum()[both.index], atol=1e-6)
    assert attribution.ranking("mlp_out.2") == [
        int(i) for i in table[(table["site"] == "mlp_out.2") & (table["node"] == "feature")]["feature"]
    ]


def test_features_and_error_sum_to_gradient_times_difference() -> None:
    attribution = attribute(HOST, PAIRS, CODERS, metric=METRIC)
    texts = [PassRow(tuple(HOST.encode(text)), 1, text) for text in CORRUPT]
    tokens = ChosenTokens(texts, [range(len(text.ids)) for text in texts])
    slope = gradients(HOST, tokens, [coder.site for coder in CODERS], METRIC).gradient
    for coder in CODERS:
        expected = (
            slope[coder.site] * (attribution.source[coder.site] - attribution.target[coder.site])
        ).sum() / len(texts)
        total = attribution.by_site.set_index("site")["total"][str(coder.site)]
        assert abs(float(expected)) > 1e-2 and total == pytest.approx(float(expected), abs=1e-4)


def test_the_error_node_is_what_the_coder_leaves_out() -> None:
    (coder, _), attribution = CODERS, attribute(HOST, PAIRS, CODERS, metric=METRIC)
    texts = [PassRow(tuple(HOST.encode(text)), 1, text) for text in CORRUPT]
    tokens = ChosenTokens(texts, [range(len(text.ids)) for text in texts])
    slope = gradients(HOST, tokens, [coder.site], METRIC).gradient[coder.site]
    error = [
        x - coder.decode(coder.encode(x))
        for x in (attribution.source[coder.site], attribution.target[coder.site])
    ]
    expected = float((slope * (error[0] - error[1])).sum()) / len(texts)
    (node,) = attribution.table[
        (attribution.table["site"] == str(coder.site)) & (attribution.table["node"] == "error")
    ]["effect"]
    assert abs(expected) > 1e-3 and node == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("method", ["gradient", IntegratedGradients(steps=3)], ids=str)
def test_a_text_does_not_depend_on_its_batch(method: Method | IntegratedGradients) -> None:
    alone, together = (
        attribute(HOST, PAIRS, CODERS, metric=METRIC, method=method, batch_rows=rows).by_text
        for rows in (1, 64)
    )
    keys = ["site", "feature", "text"]
    first, second = (table.set_index(keys)["effect"].sort_index() for table in (alone, together))
    assert first.abs().max() > 1e-2
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_short_memory_halves_the_batch_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    plenty, real = attribute(HOST, PAIRS, CODERS, metric=METRIC).table, gradients_module.full_logits

    def cramped(host: Host, step: Step, *, last_logits: int) -> Tensor:
        if len(step.ids) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return real(host, step, last_logits=last_logits)

    for module in (streams_module, gradients_module):
        monkeypatch.setattr(module, "full_logits", cramped)
    with pytest.warns(UserWarning, match="out of memory with 4 texts at once; going on with 2"):
        little = attribute(HOST, PAIRS, CODERS, metric=METRIC).table
    np.testing.assert_allclose(little["effect"], plenty["effect"], atol=1e-4)


def test_a_divergence_from_the_run_itself_is_refused_and_from_the_other_one_is_not() -> None:
    to_itself, to_clean = next_token_kl(HOST, CORRUPT), next_token_kl(HOST, CLEAN)
    with pytest.raises(DataError, match="'next_token_kl' is stationary"):
        attribute(HOST, PAIRS, CODERS, metric=to_itself)
    with pytest.raises(DataError, match="'next_token_kl' is stationary"):
        attribute(HOST, TextPairs(CLEAN, CORRUPT, direction="noise"), CODERS, metric=to_clean)
    assert attribute(HOST, PAIRS, CODERS, metric=to_clean).table["effect"].abs().max() > 1e-2


def test_in_bfloat16_too_a_divergence_from_itself_is_refused() -> None:
    host = tiny_host(dtype=torch.bfloat16)
    coder = tiny_coder(host, "resid_post.1")
    with pytest.raises(DataError, match="stationary"):
        attribute(host, PAIRS, coder, metric=next_token_kl(host, CORRUPT))
    attribution = attribute(host, PAIRS, coder, metric=METRIC)
    assert np.isfinite(attribution.table["effect"]).all() and attribution.table["effect"].abs().max() > 1e-2


@pytest.mark.parametrize("way", ["constant", "detached", "zero"])
def test_a_metric_without_a_slope_is_refused_by_name(way: str) -> None:
    with pytest.raises(DataError, match=r"'odd' (does not depend|is stationary)"):
        attribute(HOST, PAIRS, CODERS, metric=Odd(way))


@pytest.mark.parametrize("way", ["nan", "steep"])
def test_a_metric_that_is_not_finite_is_refused_with_its_text(way: str) -> None:
    with pytest.raises(NonFiniteError, match=r"'odd' (is|has a gradient that is) NaN or infinite for text 2"):
        attribute(HOST, PAIRS, CODERS, metric=Odd(way))


def test_a_metric_with_tiny_gradients_is_not_refused_as_flat() -> None:
    assert attribute(HOST, PAIRS, CODERS, metric=Odd("tiny")).table["effect"].abs().max() > 0


def test_a_site_without_gradient_or_difference_is_refused_with_what_to_do() -> None:
    last = tiny_coder(HOST, "resid_post.3")
    with pytest.raises(DataError, match=r"gradient zero at resid_post.3(?s:.*)earlier site"):
        attribute(HOST, TextPairs(CLEAN[:1], CORRUPT[:1], [1]), last, metric=METRIC)
    with pytest.raises(DataError, match=r"both runs hold the same at resid_post.1"):
        attribute(HOST, TextPairs(CLEAN[:1], CORRUPT[:1], [0]), CODERS[0], metric=METRIC)


def test_foreign_or_doubled_coders_and_unknown_methods_are_refused() -> None:
    foreign = tiny_coder(tiny_host(seed=3), "resid_post.1")
    with pytest.raises(MismatchError, match="was trained on weights"):
        attribute(HOST, PAIRS, foreign, metric=METRIC)
    assert len(attribute(HOST, PAIRS, CoderSet(foreign, transfer=True), metric=METRIC).table)
    with pytest.raises(DataError, match=r"two coders of resid_post.1"):
        attribute(HOST, PAIRS, [CODERS[0], CODERS[0]], metric=METRIC)
    with pytest.raises(DataError, match="no coder"):
        attribute(HOST, PAIRS, [], metric=METRIC)
    with pytest.raises(DataError, match="two names for one token"):
        attribute(HOST, TextPairs(CLEAN, CORRUPT, [2, -1]), CODERS, metric=METRIC)
    with pytest.raises(DataError, match="0 steps"):
        attribute(HOST, PAIRS, CODERS, metric=METRIC, method=IntegratedGradients(0))
    with pytest.raises(UnknownNameError, match="gradient, integrated"):
        attribute(HOST, PAIRS, CODERS, metric=METRIC, method="ig")
    with pytest.raises(UnknownNameError, match="denoise, noise"):
        attribute(HOST, TextPairs(CLEAN, CORRUPT, direction="up"), CODERS, metric=METRIC)
    with pytest.raises(UnknownNameError, match=r"resid_post.1, mlp_out.2"):
        attribute(HOST, PAIRS, CODERS, metric=METRIC).ranking("resid_post.2")


def test_the_host_is_itself_afterwards_and_after_an_exception() -> None:
    untouched = HOST.model(torch.tensor([HOST.encode(CLEAN[0])])).logits
    for metric in (METRIC, Odd("nan")):
        try:
            attribute(HOST, PAIRS, CODERS, metric=metric)
        except NonFiniteError:
            assert metric != METRIC
        assert torch.is_grad_enabled()
        with torch.no_grad():
            attribute(HOST, PAIRS, CODERS, metric=METRIC)
            assert not torch.is_grad_enabled(), "the caller's grad mode is not ours to change"
        assert all(parameter.grad is None for parameter in HOST.model.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in HOST.model.modules())
        assert torch.equal(HOST.model(torch.tensor([HOST.encode(CLEAN[0])])).logits, untouched)


def test_streams_are_read_where_they_are_asked_for_whatever_the_batch() -> None:
    texts = [PassRow(tuple(HOST.encode(text)), 1, text) for text in CLEAN]
    at, sites = [(1, 0), (2,), (0,), (3, 1)], [coder.site for coder in CODERS]
    alone, together = (
        read_streams(HOST, ChosenTokens(texts, at), sites, batch_rows=rows) for rows in (1, 64)
    )
    for site in sites:
        captured = capture(HOST, CLEAN, [site], progress=False)
        starts = captured.index.groupby("rollout", sort=True)["position"].count().cumsum().shift(fill_value=0)
        rows = [int(starts[text]) + position for text, positions in enumerate(at) for position in positions]
        expected = captured.at(site)[rows]
        torch.testing.assert_close(alone[site], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together[site], expected, atol=1e-5, rtol=1e-5)


def test_an_audit_takes_the_top_and_draws_the_rest_by_its_seed() -> None:
    attribution = attribute(HOST, PAIRS, CODERS, metric=METRIC)
    first, again, other = (audit(attribution, top=3, sample=4, seed=seed) for seed in (0, 0, 1))
    n = int((attribution.table["node"] == "feature").sum())
    assert (
        list(first.table["group"]) == ["top"] * 3 + ["sample"] * 4 + ["error"] * 2 and first.n_rest == n - 3
    )
    assert list(first.table["estimate"][:3]) == list(
        attribution.table.query("node == 'feature'")["effect"][:3]
    )
    assert first.table.equals(again.table) and not first.table.equals(other.table)
    sampled = first.table.query("group == 'sample'")["exact"].abs()
    assert first.missed.estimate == pytest.approx(first.n_rest * sampled.mean())
    assert first.missed.low <= first.missed.estimate <= first.missed.high
    assert 0 < first.missed_share < 1 and f"{first.missed_share:.1%}" in str(first)
    assert set(first.table["n_masked"]) == {attribution.contrast.n_tokens}
    of_all = audit(attribution, top=3, sample=10_000)
    exact = of_all.table.query("group == 'sample'")["exact"].abs().sum()
    assert of_all.missed.low == of_all.missed.high == pytest.approx(exact)
    assert np.isnan(audit(attribution, top=2, sample=0).rank_correlation) and np.isnan(
        audit(attribution, sample=0).missed.low
    )
    assert of_all.n_may_be_stronger == 0 and audit(attribution, sample=0).n_may_be_stronger == n - 20
    assert f"up to {first.n_may_be_stronger} of which" in str(first)
    with pytest.raises(DataError, match="top >= 1"):
        audit(attribution, top=0)


@pytest.mark.parametrize("n_spikes", [0, 3, 40, 250])
def test_what_an_audit_missed_is_not_bounded_by_what_it_saw(n_spikes: int) -> None:
    """A sample of 20 of 500 features, a few of which carry nearly everything: most samples hold none."""
    rng, covered, counted = np.random.default_rng(5), 0, 0
    effects = np.abs(rng.normal(size=500)) * 0.01
    effects[:n_spikes] += 10
    for seed in range(300):
        sampled = rng.choice(effects, 20, replace=False)
        missed = _missed(sampled, 500, seed)
        covered += missed.covers(effects.sum())
        counted += (effects > sampled.max()).sum() <= _count_unseen(20, 500)
    assert covered / 300 >= 0.93
    assert counted / 300 >= 0.93


def test_chosen_tokens_of_another_number_of_texts_are_refused() -> None:
    texts = [PassRow(tuple(HOST.encode(text)), 1, text) for text in CLEAN]
    with pytest.raises(DataError, match="positions of 1 texts, there are 4"):
        ChosenTokens(texts, [(0,)])
    assert repr(ChosenTokens(texts, [(0, 1), (), (2,), (0,)])) == "ChosenTokens(4 tokens of 4 texts)"
