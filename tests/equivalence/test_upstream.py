"""The runtime against Hugging Face bit for bit, against TransformerLens and SAELens, and the traps these
leave open."""

import pytest
import torch
from sae_lens import SAE, SAETransformerBridge  # noqa: TID251 - the peer it is compared with
from sae_lens.saes.sae import SAEMetadata  # noqa: TID251
from torch import Tensor

from reasonmech.errors import BindError, MismatchError, NoChangeError, UnknownNameError
from reasonmech.hosts import load_host
from reasonmech.hosts.host import Host
from reasonmech.interventions import (
    Direction,
    Features,
    Intervention,
    Whole,
    ablate,
    above,
    as_hooks,
    clamp,
    patch,
    prompt,
    scale,
    steer,
    tokens,
)
from reasonmech.runtime.forward import forward
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.passes import run_passes
from reasonmech.step import Step
from reasonmech.testing import ARCHITECTURES, HEAD_GAIN, tiny_coder, tiny_host
from tests.hosts import post_norm_host

SAME_LENGTH = ["w1 w2 . w3", "w9 w1 w22 w4", "w5 w5 w6 w40"]


def assert_same_logits(one: Tensor, other: Tensor) -> None:
    """Within 1e-5 before the head's gain, which scales rounding as it scales everything else."""
    torch.testing.assert_close(one / HEAD_GAIN, other / HEAD_GAIN, atol=1e-5, rtol=0)


def direction(seed: int, site: str) -> Direction:
    return Direction.along(torch.randn(32, generator=torch.Generator().manual_seed(seed)), site)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_empty_plan_is_hugging_face_bit_for_bit(arch: str) -> None:
    host = tiny_host(arch)
    ids = torch.tensor([host.encode(text) for text in SAME_LENGTH])
    with torch.no_grad():
        expected = host.model(ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    assert torch.equal(torch.stack(forward(host, SAME_LENGTH).logits), expected)
    zero = steer(Whole("resid_post.1"), torch.zeros(32)).allow_no_change()
    assert torch.equal(torch.stack(forward(host, SAME_LENGTH, [zero]).logits), expected)
    pushed = forward(host, SAME_LENGTH, [steer(Whole("resid_post.1"), torch.ones(32))])
    assert not torch.allclose(torch.stack(pushed.logits), expected)


@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_a_padded_batch_is_hugging_face_with_the_same_mask_bit_for_bit(arch: str) -> None:
    host = tiny_host(arch)
    texts = ["w1 w2 . w3", "w9", "w5 w5"]
    encoded = [host.encode(text) for text in texts]
    by_length = sorted(range(3), key=lambda i: len(encoded[i]))
    ids = torch.tensor([[host.pad_id] * (4 - len(encoded[i])) + encoded[i] for i in by_length])
    mask = torch.tensor([[0] * (4 - len(encoded[i])) + [1] * len(encoded[i]) for i in by_length])
    with torch.no_grad():
        logits = host.model(
            ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp_min(0), use_cache=False
        ).logits
        rows = run_passes(host, [PassRow(tuple(e), len(e), "t") for e in encoded])
        for at, (row, ours) in enumerate(rows):
            assert row == by_length[at] and torch.equal(ours, logits[at, 4 - len(encoded[row]) :])


PLANS = {
    "steer": lambda h, c: [steer(direction(0, "resid_post.1"), 3.0)],
    "ablate_pre": lambda h, c: [ablate(direction(0, "resid_pre.2"))],
    "attn_out": lambda h, c: [scale(direction(1, "attn_out.1"), -3.0, where=prompt(1))],
    "mlp_out": lambda h, c: [patch(Whole("mlp_out.2"), torch.ones(32), where=tokens("w1"))],
    "clamp": lambda h, c: [clamp(Features(c, (3, 5)), 6.0)],
    "several": lambda h, c: [
        steer(direction(0, "resid_post.1"), 3.0),
        clamp(Features(c, (3, 5)), 6.0, where=prompt(2)),
        # on some architectures the gate stays shut
        steer(
            direction(2, "resid_post.2"), 2.0, when=above(direction(0, "resid_post.1"), 0.5)
        ).allow_no_change(),
    ],
}


@pytest.mark.parametrize("arch", ["llama", "gpt2", "qwen3"])
@pytest.mark.parametrize("name", PLANS)
def test_as_hooks_in_a_transformer_bridge_is_forward(arch: str, name: str) -> None:
    host = tiny_host(arch)
    plan = [one.allow_no_change() for one in PLANS[name](host, tiny_coder(host))]  # a gate may stay shut
    ids = torch.tensor([host.encode(text) for text in SAME_LENGTH])
    with torch.no_grad():
        lens = host.lens.run_with_hooks(ids, fwd_hooks=as_hooks(plan, host, Step.of(ids)))
        clean = host.lens(ids)
    ours = torch.stack(forward(host, SAME_LENGTH, plan).logits)
    assert not torch.allclose(lens, clean, atol=1e-3)
    assert_same_logits(lens, ours)


@pytest.mark.parametrize("gemma", [2, 3])
@pytest.mark.parametrize("site", ["resid_pre.1", "attn_out.1", "mlp_out.0", "resid_post.0"])
def test_with_a_norm_after_each_half_a_site_is_one_place_in_both(gemma: int, site: str) -> None:
    host = post_norm_host(gemma)
    ids = torch.tensor([host.encode(text) for text in SAME_LENGTH])
    plan = [steer(direction(0, site), 3.0)]
    with torch.no_grad():
        lens = host.lens.run_with_hooks(ids, fwd_hooks=as_hooks(plan, host, Step.of(ids)))
        clean = host.lens(ids)
    ours = torch.stack(forward(host, SAME_LENGTH, plan).logits)
    assert not torch.allclose(lens, clean, atol=1e-2)
    assert torch.allclose(lens, ours, atol=1e-4, rtol=1e-5)  # one attention kernel, another order of sums


def test_a_site_that_the_bridge_shows_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    host = post_norm_host(2)
    ids = torch.tensor([host.encode(SAME_LENGTH[0])])
    block = host.lens.blocks[1]
    monkeypatch.setattr(block, "submodules", {k: v for k, v in block.submodules.items() if k != "ln1_post"})
    with pytest.raises(BindError, match=r"no hook at which attn_out\.1 passes"):
        as_hooks([steer(direction(0, "attn_out.1"), 3.0)], host, Step.of(ids))


def test_gradients_flow_through_as_hooks_to_a_vector() -> None:
    host = tiny_host()
    vector = torch.zeros(32, requires_grad=True)
    ids = torch.tensor([host.encode(SAME_LENGTH[0])])
    logits = host.lens.run_with_hooks(
        ids, fwd_hooks=as_hooks([steer(Whole("resid_post.1"), vector)], host, Step.of(ids))
    )
    logits[0, -1, 3].backward()
    assert vector.grad is not None and float(vector.grad.norm()) > 0


def sae_and_bridge(host: Host) -> tuple[SAE, SAETransformerBridge]:
    sae = tiny_coder(host).sae
    twin = tiny_host()
    bridge = SAETransformerBridge.boot_transformers(
        host.name, hf_model=twin.model, tokenizer=twin.tokenizer, device="cpu"
    )
    return sae, bridge


def test_clamp_is_the_saelens_splice_with_error_term() -> None:
    host = tiny_host()
    sae, bridge = sae_and_bridge(host)
    ids = torch.tensor([host.encode(text) for text in SAME_LENGTH])

    def set_features(f: Tensor, hook: object) -> Tensor:
        f = f.clone()
        f[..., [3, 5]] = 6.0
        return f

    name = f"{sae.cfg.metadata.hook_name}.hook_sae_acts_post"
    bridge.add_sae(sae, use_error_term=True)
    with torch.no_grad():
        spliced = bridge.run_with_hooks(ids, fwd_hooks=[(name, set_features)])
    bridge.reset_saes()
    with torch.no_grad():
        clean = bridge(ids)
    ours = torch.stack(forward(host, SAME_LENGTH, [clamp(Features(tiny_coder(host), (3, 5)), 6.0)]).logits)
    assert not torch.allclose(spliced, clean, atol=1e-2)
    assert_same_logits(ours, spliced)


def test_dropping_the_error_is_the_saelens_splice_without_it() -> None:
    host = tiny_host()
    sae, bridge = sae_and_bridge(host)
    ids = torch.tensor([host.encode(text) for text in SAME_LENGTH])
    with torch.no_grad():
        spliced = bridge.run_with_saes(ids, saes=[sae])
        clean = bridge(ids)
    plan = [scale(Features(tiny_coder(host), (3,)), 1.0, error="drop")]
    ours = torch.stack(forward(host, SAME_LENGTH, plan).logits)
    assert not torch.allclose(spliced, clean, atol=1e-2)
    assert_same_logits(ours, spliced)


# Each trap passes off a bug as "the feature has no causal effect". The first half shows that it is still open
# upstream.


def test_trap_an_unknown_hook_name_is_ignored_upstream_and_refused_here() -> None:
    host = tiny_host()
    ids = torch.tensor([host.encode(SAME_LENGTH[0])])
    with torch.no_grad():
        clean = host.lens(ids)
        typo = host.lens.run_with_hooks(ids, fwd_hooks=[("blocks.9.hook_out", lambda x, hook: x + 100)])
        assert torch.equal(typo, clean)
    plan: list[Intervention] = [steer(direction(0, "resid_post.9"), 100.0)]
    with pytest.raises(UnknownNameError, match=r"resid_post\.3"):
        as_hooks(plan, host, Step.of(ids))
    with pytest.raises(UnknownNameError, match=r"resid_post\.3"):
        forward(host, SAME_LENGTH, plan)


def test_trap_a_hook_that_matches_no_token_is_refused() -> None:
    host = tiny_host()
    ids = torch.tensor([host.encode(SAME_LENGTH[0])])
    with pytest.raises(NoChangeError, match="touched nothing"):
        as_hooks([steer(direction(0, "resid_post.1"), 100.0, where=tokens("w50"))], host, Step.of(ids))


def test_trap_a_wrong_hook_name_of_an_sae_is_logged_upstream_and_refused_here() -> None:
    host = tiny_host()
    sae, bridge = sae_and_bridge(host)
    ids = torch.tensor([host.encode(SAME_LENGTH[0])])
    sae.cfg.metadata.hook_name = "blocks.9.hook_out"
    with torch.no_grad():
        clean = bridge(ids)
        assert torch.equal(bridge.run_with_saes(ids, saes=[sae]), clean)
    elsewhere = tiny_coder(host)
    elsewhere.site = elsewhere.site._replace(layer=9)
    with pytest.raises(UnknownNameError, match=r"resid_post\.9"):
        forward(host, SAME_LENGTH, [ablate(Features(elsewhere, (3,)))])


def test_trap_misspelt_metadata_is_none_upstream_and_a_foreign_coder_is_refused_here() -> None:
    assert SAEMetadata(hook_name="blocks.1.hook_out").hook_nmae is None
    with pytest.raises(MismatchError, match="was trained on weights"):
        forward(tiny_host(seed=9), SAME_LENGTH, [ablate(Features(tiny_coder(tiny_host()), (3,)))])


def test_trap_compatibility_mode_moves_the_stream_upstream_and_such_a_bridge_is_refused_here() -> None:
    host = tiny_host("gpt2")
    ids = torch.tensor([host.encode(SAME_LENGTH[0])])
    name = "blocks.2.hook_out"
    bridge = tiny_host("gpt2").lens
    with torch.no_grad():
        raw = bridge.run_with_cache(ids, names_filter=name)[1][name]
        bridge.enable_compatibility_mode()
        folded = bridge.run_with_cache(ids, names_filter=name)[1][name]
    assert not torch.allclose(raw, folded, atol=1e-2)
    with pytest.raises(MismatchError, match="folded"):
        load_host(bridge, tokenizer=host.tokenizer)
