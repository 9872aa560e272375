"""A host names sites of an untouched model, and refuses sites it has not."""

from __future__ import annotations

import pytest
import torch

from reasonmech.errors import DataError, MismatchError, UnknownNameError
from reasonmech.hosts import Host, architectures
from reasonmech.runtime import capture, forward
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.streams import ChosenTokens, read_streams
from reasonmech.site import Site
from reasonmech.testing import ARCHITECTURES, tiny_host, tiny_tokenizer

IDS = torch.tensor([[6, 9, 12, 7, 30], [8, 8, 20, 11, 6]])


def read(host: Host, ids: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}
    names = [f"{kind}.{layer}" for kind in host.kinds for layer in range(host.n_layers)]
    handles = [host.hook_point(n).attach(lambda x, n=n: seen.__setitem__(n, x)) for n in names]
    with torch.no_grad():
        logits = host.model(ids, use_cache=False).logits
    for handle in handles:
        handle.remove()
    return seen, logits


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_enters_a_block_plus_what_its_halves_add_is_what_leaves_it(arch: str) -> None:
    host = tiny_host(arch)
    seen, _ = read(host, IDS)
    for layer in range(host.n_layers):
        halves = seen[f"attn_out.{layer}"] + seen[f"mlp_out.{layer}"]
        assert halves.abs().max() > 0.1
        # the model may add in another order: one rounding of values of size ~10
        torch.testing.assert_close(
            seen[f"resid_pre.{layer}"] + halves, seen[f"resid_post.{layer}"], atol=1e-5, rtol=0
        )
        if layer:
            assert torch.equal(seen[f"resid_pre.{layer}"], seen[f"resid_post.{layer - 1}"])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_reading_hooks_change_no_bit_and_writing_hooks_reach_the_logits(arch: str) -> None:
    host, shift = (
        tiny_host(arch),
        torch.linspace(-1, 1, 32),
    )  # a constant shift would be invisible to a LayerNorm
    with torch.no_grad():
        plain = host.model(IDS, use_cache=False).logits
        _, logits = read(host, IDS)
        assert torch.equal(logits, plain)
        for kind in host.kinds:
            handle = host.hook_point(Site(kind, 1)).attach(lambda x: x + shift)
            assert not torch.allclose(host.model(IDS, use_cache=False).logits, plain, atol=1e-3), kind
            handle.remove()
        assert torch.equal(host.model(IDS, use_cache=False).logits, plain)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_logits_of_the_last_stream_are_the_logits(arch: str) -> None:
    host = tiny_host(arch)
    seen, logits = read(host, IDS)
    with torch.no_grad():
        assert torch.equal(host.logits_of(seen[f"resid_post.{host.n_layers - 1}"]), logits)
        assert not torch.allclose(host.logits_of(seen["resid_post.0"]), logits)


def test_logits_of_applies_the_softcap() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=64,
        vocab_size=64,
        max_position_embeddings=64,
        final_logit_softcapping=2.0,
    )
    torch.manual_seed(0)
    host = Host(Gemma2ForCausalLM(config), tiny_tokenizer(), name="gemma2")
    with torch.no_grad():
        host.unembedding().mul_(30)
    seen, logits = read(host, IDS)
    assert 1.0 < logits.abs().max() <= 2.0
    assert torch.equal(host.logits_of(seen["resid_post.1"]), logits)
    torch.testing.assert_close(  # the post-norm's output is what is added, not the attention's own
        seen["resid_pre.0"] + seen["attn_out.0"] + seen["mlp_out.0"], seen["resid_post.0"], atol=1e-5, rtol=0
    )


def test_sites_parse_and_unknown_ones_list_the_range() -> None:
    host = tiny_host(n_layers=3)
    assert host.check_site("mlp_out.2") == Site("mlp_out", 2)
    for wrong in ("resid_post.3", "resid_post", "residual.1", "resid_post.-1", Site("attn_out", 7)):
        with pytest.raises(UnknownNameError, match=r"resid_post\.0 \.\. resid_post\.2") as caught:
            host.check_site(wrong)
        assert str(wrong) in str(caught.value)


def test_text_round_trips() -> None:
    host = tiny_host()
    assert host.decode(host.encode("w1 <think> w2 </think> <eos>")) == "w1 <think> w2 </think> <eos>"
    assert (host.eos_ids, host.pad_id) == ((1,), 0)


def test_a_bos_in_the_text_is_not_doubled() -> None:
    from tokenizers.processors import TemplateProcessing

    host = tiny_host()
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = "w0"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="w0 $A", special_tokens=[("w0", 6)]
    )
    with_bos = Host(host.model, tokenizer, name="bos")
    assert with_bos.encode("w1") == with_bos.encode("w0 w1") == [6, 7]


def test_the_weight_hash_follows_the_weights() -> None:
    host, same, other = tiny_host(), tiny_host(), tiny_host(seed=1)
    assert host.weight_hash == same.weight_hash != other.weight_hash
    changed = tiny_host()
    with torch.no_grad():
        changed.unembedding()[0, 0] += 1
    assert changed.weight_hash != host.weight_hash
    assert tiny_host(dtype=torch.bfloat16).weight_hash != host.weight_hash


def test_a_tokenizer_larger_than_the_model_is_refused() -> None:
    with pytest.raises(MismatchError, match="has id 99, the model has 64 rows"):
        Host(tiny_host().model, tiny_tokenizer(100), name="x")


def test_an_unmapped_architecture_is_refused_with_the_known_ones() -> None:
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(
        vocab_size=64,
        hidden_size=32,
        ffn_dim=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        word_embed_proj_dim=32,
    )
    with pytest.raises(MismatchError, match="gpt_neox"):
        Host(OPTForCausalLM(config), tiny_tokenizer(), name="opt")
    assert "opt" not in architectures.kinds()


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_text_beyond_the_last_position_is_refused(arch: str) -> None:
    host = tiny_host(arch)
    assert host.n_positions == 256
    fits, long = "w1 " * 256, "w1 " * 257
    assert len(capture(host, [fits], ["resid_post.0"], progress=False)) == 256
    with pytest.raises(DataError, match=r"(?s)text 1 .* has 257 tokens.*at most 256"):
        capture(host, [fits, long], ["resid_post.0"], progress=False)
    with pytest.raises(DataError, match=r"(?s)257 tokens.*at most 256"):
        forward(host, [long])
    text = PassRow(tuple(host.encode(long)), 1, "long")
    with pytest.raises(DataError, match=r"(?s)long has 257 tokens.*at most 256"):
        read_streams(host, ChosenTokens([text], [(0,)]), [Site("resid_post", 0)])
