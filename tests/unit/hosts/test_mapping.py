"""A map from sites to modules is tried on the model: what is added otherwise, or scaled, is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    GraniteConfig,
    Olmo2Config,
    Phi3Config,
    PretrainedConfig,
    PreTrainedModel,
)

from reasonmech.errors import MismatchError
from reasonmech.hosts import Architecture, Host, architectures
from reasonmech.runtime import capture
from reasonmech.testing import ARCHITECTURES, tiny_host, tiny_tokenizer

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
HALVES = ("model.layers", "model.norm", "self_attn", "mlp", "self_attn.o_proj")
LIKE_LLAMA = Architecture(*HALVES, entry="input_layernorm")
PARALLEL = Architecture(*HALVES)
POST_NORMS = Architecture(
    "model.layers", "model.norm", "post_attention_layernorm", "post_feedforward_layernorm", "self_attn.o_proj"
)


def random_model(config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
        for weight in model.parameters():
            weight.mul_(5) if weight.dim() > 1 else weight.add_(0.3 * torch.randn(weight.shape))
    nn.Module.to(model, dtype=dtype)
    return model


@pytest.fixture(autouse=True)
def entries() -> Iterator[None]:
    """Entries of a test are gone after it."""
    before = dict(architectures._entries)
    yield
    architectures._entries.clear()
    architectures._entries.update(before)


def host_of(model: PreTrainedModel, architecture: Architecture) -> Host:
    kind = model.config.model_type
    architectures._entries.pop(kind, None)
    architectures.register(kind)(architecture)
    return Host(model, tiny_tokenizer(), name=kind)


def assert_adds_up(host: Host) -> None:
    sites = ["resid_pre.1", "attn_out.1", "mlp_out.1", "resid_post.1"]
    acts = capture(host, ["w1 w2 w3 w4 w5"], sites, progress=False)
    pre, attention, mlp, post = (acts.at(site) for site in sites)
    assert attention.abs().max() > 0.1
    torch.testing.assert_close(pre + attention + mlp, post, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        logits = host.model(torch.tensor([host.encode("w1 w2 w3 w4 w5")])).logits[0]
        torch.testing.assert_close(host.logits_of(post), logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_halves_that_the_block_scales_are_refused_with_the_factor(dtype: torch.dtype) -> None:
    model = random_model(GraniteConfig(**SHAPE, residual_multiplier=0.22), dtype)  # pyright: ignore
    with pytest.raises(MismatchError) as caught:
        host_of(model, LIKE_LLAMA)
    text = str(caught.value)
    assert "'granite'" in text and "block 0 adds 0.22" in text and "multiply the weights" in text


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_that_the_model_scales_are_refused_with_the_factor(dtype: torch.dtype) -> None:
    granite = random_model(GraniteConfig(**SHAPE, logits_scaling=8.0), dtype)  # pyright: ignore
    with pytest.raises(MismatchError, match=r"gives 8(\.\d+)? times its logits") as caught:
        host_of(granite, LIKE_LLAMA)
    assert "weight (and bias) by 0.125" in str(caught.value)
    cohere = random_model(CohereConfig(**SHAPE, logit_scale=0.0625), dtype)  # pyright: ignore
    with pytest.raises(MismatchError, match=r"gives (16|15\.9\d|16\.0\d) times its logits"):
        host_of(cohere, PARALLEL)


def test_a_model_whose_factors_are_folded_as_the_error_says_is_the_same_model_and_taken() -> None:
    config = GraniteConfig(**SHAPE, residual_multiplier=0.22, logits_scaling=8.0)  # pyright: ignore
    model, ids = random_model(config), torch.arange(4, 12)[None]
    with torch.no_grad():
        before = model(ids).logits
        for name, weight in model.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                weight.mul_(0.22)
        model.get_submodule("model.norm").get_parameter("weight").mul_(1 / 8)
        for module in model.modules():
            for factor in ("residual_multiplier", "logits_scaling"):
                if factor in vars(module):
                    setattr(module, factor, 1.0)
        model.config.update({"residual_multiplier": 1.0, "logits_scaling": 1.0})
        torch.testing.assert_close(model(ids).logits, before)
    assert_adds_up(host_of(model, LIKE_LLAMA))


def test_halves_behind_which_a_norm_stands_are_refused_until_the_norm_is_named() -> None:
    model = random_model(Olmo2Config(**SHAPE))  # pyright: ignore
    with pytest.raises(MismatchError, match=r"(?s)what the halves of block 0 give is off .* post-norms"):
        host_of(model, PARALLEL)
    assert_adds_up(host_of(model, POST_NORMS))


def test_parallel_halves_have_no_stream_between_them() -> None:
    model = random_model(CohereConfig(**SHAPE, logit_scale=1.0))  # pyright: ignore
    with pytest.raises(MismatchError, match=r"(?s)the two are parallel.* leave entry= out"):
        host_of(model, LIKE_LLAMA)
    assert_adds_up(host_of(model, PARALLEL))


def test_an_entry_that_is_not_given_the_stream_is_refused() -> None:
    model = random_model(Olmo2Config(**SHAPE))  # pyright: ignore
    wrong = Architecture(
        "model.layers", "model.norm", POST_NORMS.attention, POST_NORMS.mlp, entry="post_attention_layernorm"
    )
    with pytest.raises(MismatchError, match="entry= of block 0 is not given the stream"):
        host_of(model, wrong)


def test_paths_that_lead_nowhere_are_refused_by_name() -> None:
    model = random_model(Phi3Config(**SHAPE))  # pyright: ignore
    for name, wrong in (
        ("layers", Architecture("model.blocks", "model.norm", "self_attn", "mlp")),
        ("norm", Architecture("model.layers", "norm", "self_attn", "mlp")),
        ("attention", Architecture("model.layers", "model.norm", "attn", "mlp")),
        ("projection", Architecture("model.layers", "model.norm", "self_attn", "mlp", projection="o_proj")),
    ):
        with pytest.raises(MismatchError, match=f"{name}="):
            host_of(model, wrong)


def test_a_model_that_adds_what_its_halves_give_is_taken() -> None:
    assert_adds_up(host_of(random_model(Phi3Config(**SHAPE)), LIKE_LLAMA))  # pyright: ignore


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_mapped_architecture_holds_in_every_dtype(arch: str, dtype: torch.dtype) -> None:
    model = tiny_host(arch).model
    nn.Module.to(model, dtype=dtype)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        host = Host(model, tiny_tokenizer(), name=arch)
    assert host.model_identity().deviations == ()
