"""effects: the total effect is the grid's, the direct one the change of the stream through the
unembedding."""

from __future__ import annotations

import pytest
import torch

from reasonmech.causal.effects import downstream, effects
from reasonmech.causal.patching import patch_grid
from reasonmech.causal.text_pairs import TextPairs
from reasonmech.errors import DataError, MismatchError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.interventions import Direction, Features, Whole, at, patch
from reasonmech.interventions.axes import Axis
from reasonmech.metrics import answer_likelihood, logit_diff
from reasonmech.runtime import Activations
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.forward import forward
from reasonmech.site import Site
from reasonmech.testing import ARCHITECTURES, tiny_coder, tiny_host

CLEAN = ["w1 w2 . w3 w9", "w5 w4 w8", "w1 w1 w4"]
CORRUPT = ["w1 w7 . w3 w2", "w6 w4 w3", "w1 w2 w30"]
PAIRS = TextPairs(CLEAN, CORRUPT)
HOST = tiny_host()


def straight_through(host: Host, axis: Axis, acts: tuple[Activations, Activations]) -> float:
    """By hand: the stream after the last block, plus what the patch adds to it at the last token,
    unembedded."""
    top, site = f"resid_post.{host.n_layers - 1}", str(axis.at)
    sources, runs = acts
    at_target, at_source = runs.at(site)[-1:], sources.at(site)[-1:]
    added = axis.write(axis.read(at_source) - axis.read(at_target))
    if axis.at.kind == "z":
        block = host.layers[axis.at.layer]
        project = host.hook_point(axis.at).module
        of_all_heads = torch.zeros(1, host.width(axis.at.whole))
        of_all_heads[:, host.columns(axis.at)] = added
        added = project(of_all_heads) - project(torch.zeros_like(of_all_heads))
        assert any(module is project for module in block.modules())
    with torch.no_grad():
        logits = host.logits_of(runs.at(top)[-1:] + added)[0]
    return float(logits[host.encode("w7")[0]] - logits[host.encode("w8")[0]])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_direct_effect_is_the_change_of_the_stream_unembedded(arch: str) -> None:
    host = tiny_host(arch)
    metric = logit_diff(host, good="w7", bad="w8")
    v = torch.randn(host.d_model, generator=torch.Generator().manual_seed(0))
    axes: list[Axis] = [
        Whole("resid_post.1"),
        Whole("attn_out.2"),
        Whole("mlp_out.1"),
        Whole("z.1.2"),
        Whole("resid_post.3"),
        Direction.along(v, "resid_pre.2"),
        Features(tiny_coder(host), tuple(range(64))),
    ]
    sites = list(dict.fromkeys(str(axis.at) for axis in axes))  # the last block's stream among them
    acts = [
        tuple(capture(host, [texts[pair]], sites, progress=False) for texts in (CLEAN, CORRUPT))
        for pair in range(len(CLEAN))
    ]
    for axis in axes:
        split = effects(host, TextPairs(CLEAN, CORRUPT, [-1]), axis, metric=metric)
        changed = []
        for row in split.table.itertuples():
            by_hand = straight_through(host, axis, acts[row.text]) - row.corrupt
            assert row.direct == pytest.approx(by_hand, abs=1e-3, rel=1e-4), (axis.at, row.text)
            assert row.indirect == pytest.approx(row.total - row.direct, abs=1e-9)
            changed.append((abs(row.direct), abs(row.indirect)))
        assert max(direct for direct, _ in changed) > 1e-2, axis.at
        largest = max(indirect for _, indirect in changed)
        assert largest < 1e-3 if str(axis.at) == "resid_post.3" else largest > 1e-2, axis.at


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_the_total_effect_is_that_of_the_grid_and_tokens_not_read_have_no_direct_one(direction: str) -> None:
    metric = logit_diff(HOST, good="w7", bad="w8")
    split = effects(HOST, TextPairs(CLEAN, CORRUPT, direction=direction), Whole("mlp_out.1"), metric=metric)  # type: ignore[arg-type]
    grid = patch_grid(HOST, TextPairs(CLEAN, CORRUPT, direction=direction), ["mlp_out.1"], metric=metric)  # type: ignore[arg-type]
    assert split.table["total"].tolist() == pytest.approx(grid.table["effect"].tolist(), abs=1e-6)
    assert split.table["gap"].tolist() == grid.table["gap"].tolist()
    read = split.table["position"].astype(int) == split.table["text"].map({0: 4, 1: 2, 2: 2})
    assert split.table.loc[read, "direct"].abs().min() > 1e-3
    assert (
        split.table.loc[~read, "direct"].abs().max()
        < 1e-4
        < 0.05
        < split.table.loc[~read, "total"].abs().max()
    )


def test_the_direct_effect_on_a_whole_answer_is_that_on_its_first_token() -> None:
    """The answer's own later tokens hear of the patched one through attention only: what is left is its
    first."""
    answers, first = (answer_likelihood(HOST, [text] * 3) for text in ("w7 w9 w1", "w7"))
    axis = Whole("resid_post.1")
    of_answers = effects(HOST, TextPairs(CLEAN, CORRUPT, [-1]), axis, metric=answers, batch_rows=3)
    of_first = effects(HOST, TextPairs(CLEAN, CORRUPT, [-1]), axis, metric=first)
    assert of_answers.table["direct"].tolist() == pytest.approx(of_first.table["direct"].tolist(), abs=1e-3)
    assert (of_answers.table["total"] - of_first.table["total"]).abs().max() > 0.1
    assert of_answers.table["direct"].abs().max() > 0.1


def test_means_carry_intervals_and_shares_of_the_gap() -> None:
    metric = logit_diff(HOST, good="w7", bad="w8")
    split = effects(HOST, TextPairs(CLEAN, CORRUPT, [-1]), Whole("resid_post.3"), metric=metric)
    (row,) = split.mean.itertuples()
    assert row.total_share == pytest.approx(1.0, abs=1e-4) and row.direct_share == pytest.approx(
        1.0, abs=1e-4
    )
    assert row.indirect == pytest.approx(0.0, abs=1e-3) and row.n_problems == 3
    assert row.total_low <= row.total <= row.total_high


def test_downstream_is_what_is_added_after_a_site() -> None:
    def names(site: str) -> list[str]:
        return [str(other) for other in downstream(HOST, Site.parse(site))][:3]

    assert names("resid_pre.1") == ["attn_out.1", "mlp_out.1", "attn_out.2"]
    assert names("resid_post.0") == names("resid_pre.1")
    assert (
        names("attn_out.1")
        == names("resid_mid.1")
        == names("z.1.2")
        == ["mlp_out.1", "attn_out.2", "mlp_out.2"]
    )
    assert names("mlp_out.1") == names("resid_post.1") == ["attn_out.2", "mlp_out.2", "attn_out.3"]
    assert names("resid_post.3") == []


def test_an_axis_or_texts_that_do_not_fit_are_refused() -> None:
    metric = logit_diff(HOST, good="w7", bad="w8")
    with pytest.raises(UnknownNameError, match=r"resid_post\.3"):
        effects(HOST, PAIRS, Whole("resid_post.9"), metric=metric)
    with pytest.raises(MismatchError):
        effects(HOST, PAIRS, Direction.along(torch.ones(8), "resid_post.1"), metric=metric)
    with pytest.raises(DataError, match="equal lengths"):
        effects(HOST, TextPairs(CLEAN, [*CORRUPT[:2], "w1"]), Whole("resid_post.1"), metric=metric)


def test_a_patch_of_features_keeps_what_the_coder_does_not_see() -> None:
    coder = tiny_coder(HOST)
    axis, metric = Features(coder, (3, 9, 11, 20)), logit_diff(HOST, good="w7", bad="w8")
    split = effects(HOST, TextPairs(CLEAN, CORRUPT, {"verb": [1, 0, 1]}), axis, metric=metric)
    for row in split.table.itertuples():
        place = [1, 0, 1][row.text]
        stream = capture(HOST, [CLEAN[row.text]], ["resid_post.1"], progress=False).at("resid_post.1")[place]
        plan = [patch(axis, stream, where=at(place)).allow_no_change()]
        last = forward(HOST, [CORRUPT[row.text]], plan, receipt="none").logits[0][-1]
        expected = float(last[HOST.encode("w7")[0]] - last[HOST.encode("w8")[0]]) - row.corrupt
        assert row.total == pytest.approx(expected, abs=2e-4)
