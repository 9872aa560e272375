"""host.lens is the same model to the bit, and leaves the host's own model alone."""

from __future__ import annotations

import copy

import pytest
import torch

from reasonmech.errors import MismatchError
from reasonmech.hosts import Host, load_host
from reasonmech.hosts.lens import build_lens
from reasonmech.testing import ARCHITECTURES, tiny_host

IDS = torch.tensor([[6, 9, 12, 7, 30], [8, 8, 20, 11, 6]])
HOOKS = {
    "resid_pre": "hook_in",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_out",
}
# The bridge multiplies GPT-2's fused q, k, v one by one; everything else is bit-equal to eager attention.
LOOSE = {"gpt2": 1e-5}


def eager(host: Host) -> Host:
    model = copy.deepcopy(host.model)
    model.set_attn_implementation("eager")
    return Host(model, host.tokenizer, name="eager")


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_lens_equals_eager_attention_and_the_original_keeps_every_bit(
    arch: str, dtype: torch.dtype
) -> None:
    host = tiny_host(arch, dtype=dtype)
    reference = eager(host)
    state = {key: tensor.clone() for key, tensor in host.model.state_dict().items()}
    implementation = host.model.config._attn_implementation
    with torch.no_grad():
        before = host.model(IDS).logits
        through_lens, cache = host.lens.run_with_cache(IDS)
        seen = {}
        for kind, hook in HOOKS.items():
            for layer in range(host.n_layers):
                name = f"{kind}.{layer}"
                reference.hook_point(name).attach(
                    lambda x, key=f"blocks.{layer}.{hook}": seen.__setitem__(key, x)
                )
        expected = reference.model(IDS).logits
        assert torch.equal(host.model(IDS).logits, before)
    assert host.model.config._attn_implementation == implementation
    assert host.model.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in host.model.state_dict().items())
    tolerance = LOOSE.get(arch, 0.0) if dtype == torch.float32 else 0.0
    scale = expected.abs().max().item()
    assert (through_lens - expected).abs().max().item() <= tolerance * scale
    for key, hidden in seen.items():
        assert (cache[key] - hidden).abs().max().item() <= tolerance * hidden.abs().max().item(), key


def test_the_lens_shares_memory_with_the_model() -> None:
    host = tiny_host()
    mine = {parameter.data_ptr() for parameter in host.model.parameters()}
    assert mine <= {parameter.data_ptr() for parameter in host.lens.parameters()}


def test_resident_hooks_of_the_host_do_not_reach_the_lens() -> None:
    host, clean = tiny_host(), tiny_host()
    host.hook_point("resid_post.1").attach(lambda x: x + 5.0)
    with torch.no_grad():
        assert torch.equal(host.lens(IDS), clean.lens(IDS))
        assert not torch.allclose(host.model(IDS).logits, clean.model(IDS).logits)


def test_the_lens_encodes_as_the_host_does_even_with_a_bos() -> None:
    host = tiny_host("qwen2")
    host.tokenizer.bos_token = "w0"
    text = "w1 w2 w30"
    assert host.lens.to_tokens(text, prepend_bos=False)[0].tolist() == host.encode(text)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_bridge_that_someone_has_becomes_a_host_over_the_same_weights(arch: str) -> None:
    host = tiny_host(arch)
    bridge = build_lens(host.model, host.tokenizer, name="theirs")
    with torch.no_grad():
        before = bridge(IDS)
        again = load_host(bridge)
        assert torch.equal(bridge(IDS), before)
        plain = copy.deepcopy(
            host.model
        )  # a bridge sets some architectures' config to eager, and leaves others
        plain.set_attn_implementation(again.model.config._attn_implementation)
        assert torch.equal(again.model(IDS).logits, plain(IDS).logits)
    assert again.weight_hash == host.weight_hash
    assert {p.data_ptr() for p in again.model.parameters()} == {p.data_ptr() for p in host.model.parameters()}


def test_a_bridge_with_folded_weights_is_refused() -> None:
    host = tiny_host()
    bridge = build_lens(copy.deepcopy(host.model), host.tokenizer, name="folded")
    bridge.enable_compatibility_mode()
    with pytest.raises(MismatchError, match="folded and centred"):
        load_host(bridge)


def test_an_unknown_hook_name_is_still_silent_upstream() -> None:
    """Why sites are checked here: TransformerLens 3.9 accepts a hook that never runs."""
    host = tiny_host()
    with torch.no_grad():
        clean = host.lens(IDS)
        steered = host.lens.run_with_hooks(IDS, fwd_hooks=[("blocks.9.hook_out", lambda x, hook: x + 5.0)])
    assert torch.equal(clean, steered)
