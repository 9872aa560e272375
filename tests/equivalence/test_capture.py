"""capture equals Hugging Face, TransformerLens, and its own rows run alone."""

from __future__ import annotations

import pytest
import torch

from reasonmech.runtime import Keep, capture
from reasonmech.testing import ARCHITECTURES, tiny_host

TEXTS = [" ".join(f"w{(7 * i + 3 * j) % 50}" for j in range(1 + (5 * i) % 13)) for i in range(20)]
HOOKS = {
    "resid_pre": "hook_in",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_out",
}
SITES = [f"{kind}.{layer}" for kind in HOOKS for layer in (0, 2)]
ROUNDING = 1e-5  # fp32, relative to the largest value: other batch shapes, and eager attention against sdpa


def assert_near(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= ROUNDING * expected.abs().max()


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_batch_of_unequal_rows_equals_its_rows_alone(arch: str) -> None:
    host = tiny_host(arch)
    together = capture(host, TEXTS, SITES, keep=Keep(batch_size=6), progress=False)
    alone = [capture(host, [text], SITES, progress=False) for text in TEXTS]
    for site in SITES:
        assert_near(together.at(site), torch.cat([acts.at(site) for acts in alone]))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_capture_equals_the_lens_cache(arch: str) -> None:
    host = tiny_host(arch)
    acts = capture(host, TEXTS, SITES, progress=False)
    for i, text in enumerate(TEXTS[:6]):
        rows = torch.tensor((acts.index["rollout"] == i).to_numpy())
        with torch.no_grad():
            _, cache = host.lens.run_with_cache(torch.tensor([host.encode(text)]))
        for site in SITES:
            kind, layer = site.split(".")
            assert_near(acts.at(site)[rows], cache[f"blocks.{layer}.{HOOKS[kind]}"][0])


def test_capture_equals_hugging_faces_hidden_states_bit_for_bit() -> None:
    host = tiny_host()
    ids = torch.tensor([host.encode(TEXTS[5])])
    acts = capture(host, [TEXTS[5]], ["resid_pre.0", "resid_pre.3", "resid_post.1"], progress=False)
    with torch.no_grad():
        hidden = host.model(ids, output_hidden_states=True).hidden_states
    assert torch.equal(acts.at("resid_pre.0"), hidden[0][0])
    assert torch.equal(acts.at("resid_pre.3"), hidden[3][0])
    assert torch.equal(acts.at("resid_post.1"), hidden[2][0])
