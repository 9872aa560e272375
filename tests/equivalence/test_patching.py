"""patch_grid cell by cell against one plain pass per cell, and against TransformerLens' own patching loop."""

from __future__ import annotations

import pytest
import torch
from transformer_lens.patching import generic_activation_patch  # noqa: TID251

from reasonmech.causal.patching import patch_grid
from reasonmech.causal.text_pairs import TextPairs
from reasonmech.hosts.host import Host
from reasonmech.interventions import Whole, at, patch
from reasonmech.metrics import answer_likelihood, logit_diff
from reasonmech.runtime.forward import forward
from reasonmech.runtime.readout import Readout
from reasonmech.testing import ARCHITECTURES, tiny_host

CLEAN = ["w1 w2 . w3 w9", "w5 w4 w8", "w1 w1 w4 w20"]
CORRUPT = ["w1 w7 . w3 w9", "w6 w4 w8", "w1 w2 w4 w21"]
PAIRS = TextPairs(CLEAN, CORRUPT)
CLOSE = {"atol": 1e-4, "rtol": 1e-5}  # logits of a head scaled by 30: 1e-5 of their range
GOOD, BAD = ["w7", "w1", "w2"], ["w8", "w2", "w9"]


def sites_of(host: Host) -> list[str]:
    """Every kind of site of a middle layer, one at the bottom, one at the top, and a head."""
    middle = [f"{kind}.1" for kind in host.kinds]
    return [*middle, "resid_pre.0", f"resid_post.{host.n_layers - 1}", "z.2.1"]


def stream_at(host: Host, site: str, ids: list[int]) -> torch.Tensor:
    """[pos, width] what a site holds, by a hook of torch on plain Hugging Face."""
    streams: list[torch.Tensor] = []

    def keep(x: torch.Tensor) -> None:
        streams.append(x[0].clone())

    handle = host.hook_point(site).attach(keep)
    with torch.no_grad():
        host.model(torch.tensor([ids]))
    handle.remove()
    return streams[0]


def log_p(host: Host, ids: list[int], answer: list[int], plan: list) -> float:
    plan = [one.allow_no_change() for one in plan]  # before the texts differ a patch puts back what is there
    lines = forward(host, [ids + answer], plan, receipt="none").logits[0].log_softmax(-1)
    return sum(float(lines[len(ids) - 1 + i, token]) for i, token in enumerate(answer))


def expected(host: Host, pair: int, plan: list, metric: str, texts: list[str]) -> float:
    """The metric's definition on one text alone, run by `forward` under a plan."""
    ids = host.encode(texts[pair])
    if metric == "logit_diff":
        quiet = [one.allow_no_change() for one in plan]
        last = forward(host, [ids], quiet, receipt="none").logits[0][-1]
        return float(last[host.encode(GOOD[pair])[0]] - last[host.encode(BAD[pair])[0]])
    good, bad = host.encode("w7 w8"), host.encode("w9")
    return log_p(host, ids, good, plan) - log_p(host, ids, bad, plan)


def metric_of(host: Host, metric: str) -> Readout:
    if metric == "logit_diff":
        return logit_diff(host, good=GOOD, bad=BAD)
    return answer_likelihood(host, ["w7 w8"] * 3, distractors=[["w9"]] * 3)


def w7_over_w8(host: Host) -> Readout:
    return logit_diff(host, good="w7", bad="w8")


METRICS = ("logit_diff", "answer_likelihood")
CASES = [  # both directions and both metrics on every architecture, and all four pairs of these
    (arch, direction, metric)
    for i, arch in enumerate(ARCHITECTURES)
    for direction, metric in zip(("denoise", "noise"), METRICS[:: -1 if i % 2 else 1], strict=True)
]


@pytest.mark.parametrize(("arch", "direction", "metric"), CASES)
def test_every_cell_is_one_plain_pass_under_that_patch(arch: str, direction: str, metric: str) -> None:
    host = tiny_host(arch)
    grid = patch_grid(
        host,
        TextPairs(CLEAN, CORRUPT, direction=direction),
        sites_of(host),
        metric=metric_of(host, metric),
        batch_rows=7,
    )
    run, source = (CORRUPT, CLEAN) if direction == "denoise" else (CLEAN, CORRUPT)
    assert len(grid) == len(sites_of(host)) * sum(len(host.encode(text)) for text in CLEAN)
    assert float(grid.table["effect"].abs().max()) > 0.1
    streams = {
        (site, pair): stream_at(host, site, host.encode(source[pair]))
        for site in sites_of(host)
        for pair in range(3)
    }
    for row in grid.table.itertuples():
        position = int(row.position)
        stream = streams[row.site, row.text][position]
        plan = [patch(Whole(row.site), stream, where=at(position)).allow_no_change()]  # before they differ
        value = expected(host, row.text, plan, metric, run)
        assert row.value == pytest.approx(value, abs=2e-4, rel=1e-5), (row.site, position, row.text)
    for name, texts in (("clean", CLEAN), ("corrupt", CORRUPT)):
        for pair in range(3):
            unpatched = grid.table.query("text == @pair")[name].unique()
            assert unpatched == pytest.approx([expected(host, pair, [], metric, texts)], abs=2e-4, rel=1e-5)


def test_a_padded_batch_of_all_cells_is_the_grid_of_each_pair_alone() -> None:
    host = tiny_host()
    of_all = patch_grid(host, PAIRS, ["resid_mid.1"], metric=w7_over_w8(host))
    for pair in range(3):
        alone = patch_grid(
            host,
            TextPairs(CLEAN[pair : pair + 1], CORRUPT[pair : pair + 1]),
            ["resid_mid.1"],
            metric=w7_over_w8(host),
        )
        together = of_all.table.query("text == @pair")
        assert together["value"].to_numpy() == pytest.approx(alone.table["value"].to_numpy(), abs=1e-4)


def test_patching_the_whole_last_stream_is_the_other_run_and_the_unchanged_prefix_does_nothing() -> None:
    host = tiny_host()
    top = f"resid_post.{host.n_layers - 1}"
    grid = patch_grid(host, PAIRS, [top, "resid_pre.0"], metric=w7_over_w8(host))
    n_tokens = grid.table["text"].map({pair: len(host.encode(text)) for pair, text in enumerate(CLEAN)})
    last = grid.table[(grid.table["site"] == top) & (grid.table["position"].astype(int) == n_tokens - 1)]
    assert last["normalised"].tolist() == pytest.approx([1.0] * 3, abs=1e-4)
    prefix = grid.table.query("text == 0 and position == '0'")
    assert prefix["effect"].abs().max() < 1e-4


def grid_of_peer(host: Host, name: str) -> torch.Tensor:
    """[layer, pos] TransformerLens' loop: one whole run per cell."""
    clean, corrupt = (torch.tensor([host.encode(texts[0])]) for texts in (CLEAN, CORRUPT))
    good, bad = host.encode("w7")[0], host.encode("w8")[0]
    _, cache = host.lens.run_with_cache(clean)

    def setter(stream: torch.Tensor, index: list[int], stored: torch.Tensor) -> torch.Tensor:
        stream = stream.clone()
        stream[:, index[1]] = stored[:, index[1]]
        return stream

    def metric(logits: torch.Tensor) -> torch.Tensor:
        return logits[0, -1, good] - logits[0, -1, bad]

    return generic_activation_patch(
        host.lens, corrupt, cache, metric, setter, name, index_axis_names=("layer", "pos")
    )


def our_grid(host: Host, name: str) -> torch.Tensor:
    sites = [f"{name}.{layer}" for layer in range(host.n_layers)]
    grid = patch_grid(host, TextPairs(CLEAN[:1], CORRUPT[:1]), sites, metric=w7_over_w8(host))
    return torch.tensor(grid.table["value"].to_numpy()).reshape(host.n_layers, -1).float()


@pytest.mark.parametrize("name", ["resid_pre", "attn_out", "mlp_out"])
def test_the_grid_is_that_of_generic_activation_patch(name: str) -> None:
    host = tiny_host()
    peer = grid_of_peer(host, name)
    assert float(peer.std()) > 0.1, "the peer's patches changed nothing"
    assert torch.allclose(our_grid(host, name), peer, **CLOSE)


def test_a_patch_of_resid_mid_upstream_reaches_the_mlp_alone() -> None:
    """The bridge of 3.9 shows resid_mid at the norm before the MLP: what is written there never joins the
    stream.

    Patched at the last token of the top layer, the stream after attention decides everything that follows, so
    the patched run has to be the clean one. If this fails, upstream has closed it: move resid_mid to the test
    above.
    """
    host = tiny_host()
    clean = float(
        patch_grid(host, TextPairs(CLEAN[:1], CORRUPT[:1]), ["resid_mid.0"], metric=w7_over_w8(host)).table[
            "clean"
        ][0]
    )
    assert float(our_grid(host, "resid_mid")[-1, -1]) == pytest.approx(clean, abs=1e-3)
    assert abs(float(grid_of_peer(host, "resid_mid")[-1, -1]) - clean) > 0.1


def test_a_bfloat16_host_gives_the_numbers_of_plain_passes_in_bfloat16() -> None:
    """Equality is not claimed in bfloat16: logits of this size, up to 16, are 1/16 apart, and the metric
    takes two."""
    host = tiny_host(dtype=torch.bfloat16)
    grid = patch_grid(host, PAIRS, ["resid_post.1", "z.2.1"], metric=metric_of(host, "logit_diff"))
    differences = []
    for row in grid.table.itertuples():
        position = int(row.position)
        stream = stream_at(host, row.site, host.encode(CLEAN[row.text]))[position]
        plan = [patch(Whole(row.site), stream, where=at(position)).allow_no_change()]  # before they differ
        differences.append(abs(row.value - expected(host, row.text, plan, "logit_diff", CORRUPT)))
    equal = sum(difference == 0 for difference in differences)
    print(
        f"bfloat16: largest difference {max(differences)}, {equal} of {len(differences)} cells equal to the "
        "bit"
    )
    assert grid.table["effect"].abs().max() > 1
    assert max(differences) <= 2 / 16
