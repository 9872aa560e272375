"""A rotated model writes the same text with other weights, activations and directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from reasonmech.errors import MismatchError
from reasonmech.hosts import Host, load_host
from reasonmech.organisms.training.rotation import Rotation, plane_rotations, rotate
from reasonmech.runtime import capture, generate
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.tasks import load_task

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
MODELS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "llama with biases": (LlamaForCausalLM, LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True)),
    "mistral": (MistralForCausalLM, MistralConfig(**SIZES, sliding_window=5)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**{**SIZES, "head_dim": 6}, tie_word_embeddings=True)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SIZES)),
}


def wild(name: str) -> PreTrainedModel:
    """Random everywhere, gains and biases included, so that nothing is right because it is 0 or 1."""
    torch.manual_seed(0)
    build, config = MODELS[name]
    model = build(config).eval()
    with torch.no_grad():
        for part, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.copy_(
                    torch.rand_like(parameter) + 0.5 if "norm" in part else torch.randn_like(parameter)
                )
            else:
                parameter.copy_(torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
    return model


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference of logits over their spread."""
    return float((a - b).abs().max() / a.std())


@torch.no_grad()
@pytest.mark.parametrize("permute", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_logits_stay_and_everything_else_changes(name: str, permute: bool) -> None:
    model = wild(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    turned = rotate(model, seed=3, permute=permute)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items()), (
        "the model is untouched"
    )
    kept = {key for key, value in turned.state_dict().items() if torch.equal(before[key], value)}
    assert not [key for key in kept if key.endswith("weight") and "q_norm" not in key and "k_norm" not in key]
    ids = torch.randint(0, 50, (4, 17), generator=torch.Generator().manual_seed(1))
    output, turned_output = (m(ids, output_hidden_states=True) for m in (model, turned))
    assert apart(output.logits, turned_output.logits) < 1e-5  # float32 round-off through 3 layers
    for stream, other in zip(output.hidden_states[:-1], turned_output.hidden_states[:-1], strict=True):
        torch.testing.assert_close(stream.norm(dim=-1), other.norm(dim=-1), rtol=1e-4, atol=0)
        assert nn.functional.cosine_similarity(stream, other, dim=-1).mean().abs() < 0.3


def test_heads_and_neurons_change_places_only_with_permute() -> None:
    model = wild("qwen3")
    plain, permuted = (rotate(model, seed=3, permute=flag) for flag in (False, True))
    plain_rows, permuted_rows = (
        m.get_submodule("model.layers.0.mlp.up_proj").get_parameter("weight") for m in (plain, permuted)
    )
    assert not torch.equal(plain_rows, permuted_rows)
    distance = torch.cdist(plain_rows, permuted_rows)
    assert (
        torch.equal(distance.argmin(1).sort().values, torch.arange(40))
        and distance.min(1).values.max() < 1e-3
    )


def test_a_rotation_is_orthogonal_known_by_its_seed_and_far_from_the_identity() -> None:
    for width in (7, 128):  # odd: one coordinate sits out each round
        eye = torch.eye(width, dtype=torch.float64)
        q, again, other = (plane_rotations(width, torch.Generator().manual_seed(s))(eye) for s in (0, 0, 1))
        torch.testing.assert_close(q @ q.T, eye, atol=1e-13, rtol=0)
        assert torch.equal(q, again) and not torch.allclose(q, other)
        assert q.diagonal().abs().mean() < 3 / width**0.5
    spread = (q**4).sum(1)  # 1 for a permutation, about 3 / width for a direction without a basis
    assert spread.mean() < 6 / 128


def test_a_saved_rotation_is_loaded_untied(tmp_path: Path) -> None:
    turned = Rotation(seed=0).apply(wild("llama"))
    turned.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert not torch.equal(loaded.lm_head.weight, loaded.model.embed_tokens.weight)
    assert all(
        torch.equal(a, b)
        for a, b in zip(turned.state_dict().values(), loaded.state_dict().values(), strict=True)
    )


def test_rotating_a_gpt2_raises() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=20))
    with pytest.raises(MismatchError, match="'gpt2' cannot be rotated"):
        rotate(model)


@torch.no_grad()
def test_a_rotated_base_writes_the_same_text_along_other_directions() -> None:
    base = load_host("organism:tiny-when/base")
    turned = Host(rotate(base.model, seed=0), base.tokenizer, name="rotated")
    assert base.weight_hash != turned.weight_hash
    problems = load_task("chain", n=40, seed=11)
    decode = Decode(max_new_tokens=120, temperature=1.0)
    rollouts, turned_rollouts = (
        generate(host, problems, decode=decode, progress=False) for host in (base, turned)
    )
    assert len({r.text for r in rollouts}) > 20
    assert [r.ids for r in rollouts] == [r.ids for r in turned_rollouts]
    for rollout in rollouts:
        ids = torch.tensor([rollout.all_ids])
        assert apart(base.model(ids).logits, turned.model(ids).logits) < 1e-5
    captured = [capture(host, rollouts, ["resid_post.2"], progress=False) for host in (base, turned)]
    number = base.tokenizer.get_vocab()["="]
    equals = torch.tensor((captured[0].index["token"] == number).to_numpy())
    assert 50 < equals.sum() < len(equals) / 2
    contrast, other = (
        acts.at("resid_post.2")[equals].mean(0) - acts.at("resid_post.2")[~equals].mean(0)
        for acts in captured
    )
    torch.testing.assert_close(contrast.norm(), other.norm(), rtol=1e-4, atol=0)
    assert torch.cosine_similarity(contrast, other, dim=0).abs() < 0.4, (
        "the same direction in other coordinates"
    )
    turn = plane_rotations(base.d_model, torch.Generator().manual_seed(0))
    torch.testing.assert_close(turn(contrast).float(), other, rtol=1e-3, atol=1e-4 * float(contrast.norm()))
