"""attribute, audit and faithfulness against plain autograd through TransformerLens and against exact
patches."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from reasonmech.causal.attribution import Attribution, IntegratedGradients, attribute
from reasonmech.causal.audit import audit
from reasonmech.causal.faithfulness import faithfulness
from reasonmech.causal.feature_groups import FeatureGroups
from reasonmech.causal.text_pairs import TextPairs
from reasonmech.coders import SparseCoder
from reasonmech.hosts.host import Host
from reasonmech.interventions import Features, Whole, at, patch
from reasonmech.metrics import answer_likelihood, logit_diff
from reasonmech.runtime.forward import forward
from reasonmech.runtime.gradients import gradients
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.streams import ChosenTokens
from reasonmech.site import Site
from reasonmech.testing import ARCHITECTURES, tiny_coder, tiny_host

CLEAN = ["w1 w2 . w3 w9", "w5 w4 w8", "w1 w1 w4 w20"]
CORRUPT = ["w1 w7 . w3 w9", "w6 w4 w8", "w1 w2 w4 w21"]
PAIRS = TextPairs(CLEAN, CORRUPT)
GOOD, BAD = "w7", "w8"
SITES = ("resid_pre.1", "mlp_out.1", "attn_out.2", "resid_post.2")
CLOSE = {"atol": 2e-4, "rtol": 1e-4}  # logits of a head scaled by 30, sums of products of some dozen of them


@cache
def host_of(arch: str) -> Host:
    """One host, with its twin in TransformerLens, for all tests of an architecture."""
    return tiny_host(arch)


def stream_at(host: Host, site: str, ids: list[int]) -> Tensor:
    """[pos, width] what a site holds, by a hook of torch on plain Hugging Face."""
    streams: list[Tensor] = []
    handle = host.hook_point(site).attach(lambda x: streams.append(x[0].clone()))
    with torch.no_grad():
        host.model(torch.tensor([ids]))
    handle.remove()
    return streams[0]


def diff_of(host: Host, logits: Tensor) -> Tensor:
    return logits[host.encode(GOOD)[0]] - logits[host.encode(BAD)[0]]


def measured(host: Host, text: str, plan: list) -> float:
    plan = [intervention.allow_no_change() for intervention in plan]  # where both texts agree a patch is one
    return float(diff_of(host, forward(host, [text], plan, receipt="none").logits[0][-1]))


@cache
def through_the_bridge(arch: str, text: str) -> dict[str, tuple[Tensor, Tensor]]:
    """What each site of SITES holds over a text in the TransformerLens twin, and its gradient."""
    host, streams = host_of(arch), {}

    def keep(x: Tensor, site: str) -> Tensor:
        x.retain_grad()
        streams[site] = x
        return x

    names = {site: name for site in SITES if (name := host.lens_hook(site)) is not None}
    hooks: list[Any] = [(name, lambda x, hook, site=site: keep(x, site)) for site, name in names.items()]
    logits = host.lens.run_with_hooks(torch.tensor([host.encode(text)]), fwd_hooks=hooks)
    diff_of(host, logits[0, -1]).backward()
    return {site: (x[0].detach(), x.grad[0]) for site, x in streams.items()}


def by_autograd(arch: str, coder: SparseCoder, text: str, source: str) -> tuple[Tensor, float]:
    """The definition in ten lines: gradient through the TransformerLens twin, times decoder rows, times
    difference."""
    x, g = through_the_bridge(arch, text)[str(coder.site)]
    x_source = stream_at(host_of(arch), str(coder.site), host_of(arch).encode(source))
    f, f_source = coder.encode(x), coder.encode(x_source)
    errors = [y - coder.decode(codes) for y, codes in ((x, f), (x_source, f_source))]
    effects = ((f_source - f) * (g @ coder.rows(range(coder.d_sae)).T)).sum(0)
    return effects.detach(), float((g * (errors[1] - errors[0])).sum())


def of_text(attribution: Attribution, coder: SparseCoder, text: int) -> tuple[Tensor, float]:
    """Effects of all features of a coder on one text, and that of its error node."""
    rows = attribution.by_text[attribution.by_text["site"] == str(coder.site)]
    rows = rows[rows["text"] == text]
    effects = torch.zeros(coder.d_sae)
    named = rows[rows["node"] == "feature"]
    effects[torch.tensor(named["feature"].to_numpy(dtype=np.int64))] = torch.tensor(
        named["effect"].to_numpy()
    ).float()
    return effects, float(rows[rows["node"] == "error"]["effect"].sum())


@cache
def coders_of(arch: str) -> list[SparseCoder]:
    host = host_of(arch)
    return [tiny_coder(host, site) for site in SITES if host.lens_hook(site) is not None]


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_all_features_of_all_sites_at_once_are_what_autograd_through_the_bridge_says(
    arch: str, direction: str
) -> None:
    host, coders = host_of(arch), coders_of(arch)
    metric = logit_diff(host, good=GOOD, bad=BAD)
    attribution = attribute(
        host, TextPairs(CLEAN, CORRUPT, direction=direction), coders, metric=metric, batch_rows=2
    )
    target, source = (CORRUPT, CLEAN) if direction == "denoise" else (CLEAN, CORRUPT)
    for coder in coders:
        for text in range(len(CLEAN)):
            effects, error = of_text(attribution, coder, text)
            expected, expected_error = by_autograd(arch, coder, target[text], source[text])
            assert float(expected.abs().max()) > 1e-2, "nothing to compare"
            torch.testing.assert_close(effects, expected, **CLOSE)
            assert error == pytest.approx(expected_error, abs=2e-4, rel=1e-4)


@pytest.mark.parametrize("arch", ["llama", "gpt_neox"])
def test_an_answer_of_several_tokens_is_summed_over_the_rows_that_it_needs(arch: str) -> None:
    host = host_of(arch)
    coder = tiny_coder(host, "resid_post.1")
    metric = answer_likelihood(host, ["w7 w8"] * 3, distractors=[["w9 w3 w2", "w4"]] * 3)
    attribution = attribute(host, PAIRS, coder, metric=metric)
    value = metric_by_hand(host, ["w7 w8", "w9 w3 w2", "w4"])
    slope = torch.autograd.functional.jacobian
    for text in range(len(CLEAN)):
        ids = host.encode(CORRUPT[text])
        x, x_source = (
            stream_at(host, "resid_post.1", ids),
            stream_at(host, "resid_post.1", host.encode(CLEAN[text])),
        )
        g = slope(lambda stream, ids=ids: value(ids, stream), x)
        expected = ((coder.encode(x_source) - coder.encode(x)) * (g @ coder.rows(range(coder.d_sae)).T)).sum(
            0
        )
        effects, error = of_text(attribution, coder, text)
        assert float(expected.abs().max()) > 1e-2, "nothing to compare"
        torch.testing.assert_close(effects, expected.detach(), **CLOSE)
        assert float(effects.sum()) + error == pytest.approx(float((g * (x_source - x)).sum()), abs=2e-4)


def metric_by_hand(host: Host, answers: list[str]) -> Callable[[list[int], Tensor], Tensor]:
    """answer_likelihood as a function of what resid_post.1 holds over the text."""

    def log_p(ids: list[int], stream: Tensor, answer: list[int]) -> Tensor:
        def put(x: Tensor) -> Tensor:
            return torch.cat([stream[None], x[:, len(ids) :]], 1)

        handle = host.hook_point("resid_post.1").attach(put)
        lines = host.model(torch.tensor([ids + answer[:-1]])).logits[0, len(ids) - 1 :].log_softmax(-1)
        handle.remove()
        return lines.gather(1, torch.tensor(answer)[:, None]).sum()

    def value(ids: list[int], stream: Tensor) -> Tensor:
        good, *others = (log_p(ids, stream, host.encode(answer)) for answer in answers)
        return good - torch.stack(others).logsumexp(0)

    return value


def linear_host() -> Host:
    """A host whose logits are linear in the last block's MLP output and in the stream that leaves it."""
    host = tiny_host()
    host.model.get_submodule("model").norm = nn.Identity().eval()
    return host


@pytest.mark.parametrize("site", ["resid_post.3", "mlp_out.3"])
def test_where_the_metric_is_linear_in_the_stream_first_order_is_the_exact_patch(site: str) -> None:
    host = linear_host()
    coder = tiny_coder(host, site)
    attribution = attribute(host, PAIRS, coder, metric=logit_diff(host, good=GOOD, bad=BAD))
    audited = audit(attribution, top=4, sample=1000)
    assert audited.n_rest > 0 and audited.table["exact"].abs().max() > 1e-2, "nothing to compare"
    np.testing.assert_allclose(audited.table["exact"], audited.table["estimate"], atol=2e-4)
    assert set(audited.table["group"]) == {"top", "sample", "error"}
    assert audited.rank_correlation > 0.99


@pytest.mark.parametrize("site", ["resid_post.1", "attn_out.2"])
def test_integrated_gradients_add_up_to_the_exact_patch_of_the_site(site: str) -> None:
    host = tiny_host()
    coder, metric = tiny_coder(host, site), logit_diff(host, good=GOOD, bad=BAD)
    totals = {}
    for name, method in (
        ("first order", "gradient"),
        ("10", "integrated"),
        ("40", IntegratedGradients(steps=40)),
    ):
        attribution = attribute(host, PAIRS, coder, metric=metric, method=method)
        totals[name] = float(attribution.by_site["total"].iloc[0])
    exact = np.mean([whole_patch(host, site, text) for text in range(len(CLEAN))])
    off = {name: abs(total - exact) for name, total in totals.items()}
    assert off["first order"] > 0.05 * abs(exact), "first order is exact here: the test could not fail"
    assert off["10"] < off["first order"] and off["40"] < 0.01 * abs(exact) + 1e-3, (off, exact)


def whole_patch(host: Host, site: str, text: int) -> float:
    stream = stream_at(host, site, host.encode(CLEAN[text]))
    return measured(host, CORRUPT[text], [patch(Whole(site), stream)]) - measured(host, CORRUPT[text], [])


def test_audited_effects_are_single_patches_run_alone() -> None:
    host = host_of("qwen3")
    coder = tiny_coder(host, "resid_post.1")
    metric = logit_diff(host, good=GOOD, bad=BAD)
    audited = audit(attribute(host, PAIRS, coder, metric=metric), top=3, sample=2, seed=1)
    assert audited.table["exact"].abs().max() > 1e-2
    for feature, exact in audited.table[audited.table["node"] == "feature"][["feature", "exact"]].itertuples(
        index=False
    ):
        effects = [
            measured(host, CORRUPT[i], [patch(Features(coder, (int(feature),)), source_of(host, i))])
            - measured(host, CORRUPT[i], [])
            for i in range(len(CLEAN))
        ]
        assert exact == pytest.approx(np.mean(effects), abs=2e-4)
    (error,) = audited.table[audited.table["node"] == "error"]["exact"]
    effects = []
    for i, text in enumerate(CORRUPT):
        x, y = stream_at(host, "resid_post.1", host.encode(text)), source_of(host, i)
        moved = y - coder.decode(coder.encode(y)) - (x - coder.decode(coder.encode(x)))
        effects.append(
            measured(host, text, [patch(Whole("resid_post.1"), x + moved)]) - measured(host, text, [])
        )
    assert error == pytest.approx(np.mean(effects), abs=2e-4)


def source_of(host: Host, text: int) -> Tensor:
    return stream_at(host, "resid_post.1", host.encode(CLEAN[text]))


def point(curve: pd.DataFrame, text: int, n: int, error: str, patched: str) -> float:
    rows = curve[(curve["text"] == text) & (curve["n"] == n) & (curve["error"] == error)]
    (value,) = rows[rows["patched"] == patched]["value"]
    return float(value)


def test_a_group_is_patched_as_the_verb_does_it_error_kept_and_dropped() -> None:
    host = tiny_host()
    coder, metric = tiny_coder(host, "resid_post.1"), logit_diff(host, good=GOOD, bad=BAD)
    group = attribute(host, PAIRS, coder, metric=metric).ranking("resid_post.1")[:5]
    shares = faithfulness(
        host, PAIRS, FeatureGroups(coder, group, error=("keep", "drop", "patch")), metric=metric
    )
    assert shares.table["effect"].abs().max() > 1e-2
    rest = tuple(sorted(set(range(coder.d_sae)) - set(group)))
    for i, text in enumerate(CORRUPT):
        for error in ("keep", "drop"):
            for patched, features in (("group", tuple(group)), ("rest", rest)):
                plan = [patch(Features(coder, features), source_of(host, i), error=error)]
                assert point(shares.table, i, 5, error, patched) == pytest.approx(
                    measured(host, text, plan), abs=2e-4
                )
        of_site = measured(host, text, [patch(Whole("resid_post.1"), source_of(host, i))])
        assert point(shares.table, i, 0, "patch", "rest") == pytest.approx(of_site, abs=2e-4)
        x = stream_at(host, "resid_post.1", host.encode(text))
        minus = source_of(host, i) - (coder.encode(source_of(host, i)) - coder.encode(x))[
            :, group
        ] @ coder.rows(group)
        left = measured(host, text, [patch(Whole("resid_post.1"), minus)])
        assert point(shares.table, i, 5, "patch", "rest") == pytest.approx(left, abs=2e-4)


def test_only_the_compared_positions_are_attributed_and_patched() -> None:
    host = tiny_host()
    coder, metric = tiny_coder(host, "resid_post.1"), logit_diff(host, good=GOOD, bad=BAD)
    longer = ["w1 w2 w7 . w3 w9", "w6 w6 w4 w8", "w1 w4 w21"]
    places = {"last": [-1, -1, -1], "here": [(1, 3), (0, 1), (2, 0)]}
    attribution = attribute(host, TextPairs(CLEAN, longer, places), coder, metric=metric)
    audited = audit(attribution, top=2, sample=0)
    feature = int(audited.table["feature"].iloc[0])
    effects = []
    for i, text in enumerate(longer):
        taken = [a if isinstance(a, tuple) else (len(host.encode(CLEAN[i])) - 1, len(host.encode(text)) - 1)
                 for a in (places["here"][i], places["last"][i])]  # fmt: skip
        source = torch.zeros(len(host.encode(text)), host.d_model)
        for clean, corrupt in taken:
            source[corrupt] = source_of(host, i)[clean]
        plan = [patch(Features(coder, (feature,)), source, where=at(*(corrupt for _, corrupt in taken)))]
        effects.append(measured(host, text, plan) - measured(host, text, []))
    assert max(map(abs, effects)) > 1e-3
    assert audited.table["exact"].iloc[0] == pytest.approx(np.mean(effects), abs=2e-4)
    assert set(attribution.by_position["position"]) == {"last", "here"}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_gradient_of_every_kind_of_site_is_that_of_putting_its_stream_back(arch: str) -> None:
    host = host_of(arch)
    sites = [Site.parse(f"{kind}.{layer}") for layer in (1, 2) for kind in host.kinds]
    texts = [PassRow(tuple(host.encode(text)), 1, text) for text in CORRUPT[:2]]
    tokens = ChosenTokens(texts, [range(len(text.ids)) for text in texts])
    results = gradients(host, tokens, sites, logit_diff(host, good=GOOD, bad=BAD))
    for site in sites:
        expected = []
        for text in texts:
            ids = torch.tensor([text.ids])

            def put_back(stream: Tensor, site: Site = site, ids: Tensor = ids) -> Tensor:
                handle = host.hook_point(site).attach(lambda _: stream[None])
                logits = host.model(ids).logits[0, -1]
                handle.remove()
                return diff_of(host, logits)

            stream = stream_at(host, str(site), list(text.ids))
            expected.append(torch.autograd.functional.jacobian(put_back, stream))
        assert float(torch.cat(expected).abs().max()) > 1e-3, "nothing to compare"
        torch.testing.assert_close(results.gradient[site], torch.cat(expected), atol=1e-3, rtol=1e-4)
