"""Helpers for tests of plug-ins: random hosts and coders that are small enough to run anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from reasonmech.coders import SparseCoder, hook_of_site, load_coder
from reasonmech.errors import UnknownNameError
from reasonmech.hosts import Host, ModelPair
from reasonmech.interventions.axes import Axis, Direction
from reasonmech.interventions.edits import Edit, Place
from reasonmech.interventions.masks import Where
from reasonmech.site import Site
from reasonmech.step import Step

SPECIAL: Final = ("<pad>", "<eos>", "<unk>", ".", "<think>", "</think>")
ARCHITECTURES: Final = ("llama", "qwen2", "qwen3", "gemma", "gpt2", "gpt_neox")
HEAD_GAIN: Final = (
    30.0  # a random model's top two logits are close; scaled, greedy tokens survive float noise
)
BODY_GAIN: Final = 5.0  # at the usual initial scale a random model hardly reads its input


def tiny_tokenizer(vocab_size: int = 64) -> PreTrainedTokenizerFast:
    """Words separated by blanks: `<pad> <eos> <unk> . <think> </think> w0 w1 ...`, `vocab_size` in all."""
    words = [*SPECIAL, *(f"w{i}" for i in range(vocab_size - len(SPECIAL)))]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


def tiny_host(
    arch: str = "llama",
    *,
    seed: int = 0,
    n_layers: int = 4,
    d_model: int = 32,
    vocab_size: int = 64,
    dtype: torch.dtype = torch.float32,
) -> Host:
    """A random model of one architecture with a word tokenizer, its norms and biases perturbed, its head
    scaled by 30.

    Raises:
        UnknownNameError: the architecture is not one of `ARCHITECTURES`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(arch, n_layers=n_layers, d_model=d_model, vocab_size=vocab_size)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(0.3 * torch.randn(parameter.shape))
                else:
                    parameter.mul_(BODY_GAIN)
            host = Host(model.eval(), tiny_tokenizer(vocab_size), name=f"tiny-{arch}-{seed}")
            host.unembedding().mul_(HEAD_GAIN / BODY_GAIN)
    nn.Module.to(host.model, dtype=dtype)
    return host


def tiny_pair(arch: str = "llama", *, seed: int = 0, change: float = 0.1) -> ModelPair:
    """Two random siblings: the thinking host has the base's weights, each matrix moved by `change` of its own
    scale."""
    base, thinking = tiny_host(arch, seed=seed), tiny_host(arch, seed=seed)
    noise = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in thinking.model.parameters():
            if parameter.dim() > 1:
                moved = torch.randn(parameter.shape, generator=noise) * parameter.std()
                parameter.add_(change * moved)
    return ModelPair(name=f"tiny-{arch}-{seed}", base=base, thinking=thinking)


def tiny_coder(
    host: Host, site: Site | str = "resid_post.1", *, d_sae: int = 64, k: int = 4, seed: int = 0
) -> SparseCoder:
    """A random TopK coder of a host, read back from a directory in SAELens' layout; its hash is the
    host's."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(d_sae, host.width(site), generator=random), dim=-1)
    weights = {
        "W_enc": rows.T.contiguous(),
        "W_dec": rows,
        "b_enc": 0.1 * torch.randn(d_sae, generator=random),
        "b_dec": 0.1 * torch.randn(host.width(site), generator=random),
    }
    config = {
        "architecture": "topk",
        "d_in": host.width(site),
        "d_sae": d_sae,
        "k": k,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "metadata": {
            "sae_lens_version": "6.54.12",
            "model_name": host.name,
            "hook_name": hook_of_site(host.check_site(site)),
            "reasonmech": {"model_hash": host.weight_hash},
        },
    }
    with TemporaryDirectory() as directory:
        (Path(directory) / "cfg.json").write_text(json.dumps(config))
        save_file(weights, Path(directory) / "sae_weights.safetensors")
        return load_coder(directory, host=host)


def _model(arch: str, *, n_layers: int, d_model: int, vocab_size: int) -> PreTrainedModel:
    special: dict[str, Any] = {
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
    }
    shape: dict[str, Any] = {
        "hidden_size": d_model,
        "num_hidden_layers": n_layers,
        "num_attention_heads": 4,
        "vocab_size": vocab_size,
    }
    rope: dict[str, Any] = (
        special | shape | {"intermediate_size": 2 * d_model, "max_position_embeddings": 256}
    )
    grouped: dict[str, Any] = rope | {"num_key_value_heads": 2}
    headed: dict[str, Any] = grouped | {"head_dim": d_model // 4}
    gpt2: dict[str, Any] = special | {
        "n_embd": d_model,
        "n_layer": n_layers,
        "n_head": 4,
        "vocab_size": vocab_size,
        "n_positions": 256,
    }
    match arch:
        case "llama":
            return LlamaForCausalLM(LlamaConfig(**grouped))
        case "qwen2":
            return Qwen2ForCausalLM(Qwen2Config(**grouped))
        case "qwen3":
            return Qwen3ForCausalLM(Qwen3Config(**headed))
        case "gemma":
            return GemmaForCausalLM(GemmaConfig(**headed))
        case "gpt2":
            return GPT2LMHeadModel(GPT2Config(**gpt2))
        case "gpt_neox":
            return GPTNeoXForCausalLM(GPTNeoXConfig(**rope))
    raise UnknownNameError("architecture", arch, ARCHITECTURES)


def tiny_step(*, batch: int = 3, width: int = 12, vocab_size: int = 64, seed: int = 0) -> Step:
    """A left-padded batch of random texts: rows of different length, each with a prompt of its own length."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, width + 1, (batch,), generator=random)
    lengths[0] = width
    mask = torch.arange(width) >= (width - lengths)[:, None]
    ids = torch.randint(1, vocab_size, (batch, width), generator=random).masked_fill(~mask, 0)
    share = torch.rand(batch, generator=random)
    prompt_length = (1 + share * (lengths - 1)).long()
    return Step(ids=ids, mask=mask, prompt_length=prompt_length, new=width, rows=torch.arange(batch))


def assert_causal(where: Where, *, tokenizer: PreTrainedTokenizerFast | None = None, seeds: int = 20) -> None:
    """Check that a mask never changes when the text grows, and does not see padding or the other rows of a
    batch.

    Raises:
        AssertionError: it does; the text is in the message.
    """
    bound = where.resolve(tokenizer or tiny_tokenizer())
    for seed in range(seeds):
        step = tiny_step(seed=seed)
        whole = bound.mask(step) & step.mask
        for width in range(1, step.ids.shape[1] + 1):
            shorter = replace(step, ids=step.ids[:, :width], mask=step.mask[:, :width], new=width)
            seen = bound.mask(shorter) & shorter.mask
            assert torch.equal(seen, whole[:, :width]), (
                f"{where} changes its mind at column {width} of {step.ids}"
            )
        for row, line in enumerate(step.ids):
            own = line[step.mask[row]][None]
            alone = Step.of(own, prompt_length=int(step.prompt_length[row]))
            assert torch.equal(bound.mask(alone)[0], whole[row][step.mask[row]]), (
                f"{where} depends on padding: {line}"
            )


def assert_edit_laws(edit: Edit, *, axis: Axis | None = None, seeds: int = 5) -> None:
    """Check what every edit must obey: pure, differentiable, token by token, `delta` is `new - coords`.

    Args:
        axis: on which it is tried; a random direction where none is given.

    Raises:
        AssertionError: it breaks one of them.
    """
    for seed in range(seeds):
        random = torch.Generator().manual_seed(seed)
        tried = axis or Direction.along(torch.randn(32, generator=random), "resid_post.1")
        edit.check(tried)
        n_coords = tried.n_coords or 32
        step = tiny_step(seed=seed)
        place = Place(step, step.mask)
        coords = torch.randn(int(step.mask.sum()), n_coords, generator=random).requires_grad_()
        before = coords.detach().clone()
        new, delta = edit.new(coords, tried, place), edit.delta(coords, tried, place)
        assert new.shape == coords.shape == delta.shape, (
            f"{edit.kind} changes the shape {tuple(coords.shape)}"
        )
        assert torch.equal(coords.detach(), before), f"{edit.kind} edits in place"
        assert torch.equal(new, edit.new(coords, tried, place)), f"{edit.kind} is not deterministic"
        assert torch.allclose(delta, new - coords, atol=1e-5), f"{edit.kind}: delta is not new - coords"
        (coords + delta).sum().backward()
        assert coords.grad is not None and bool(torch.isfinite(coords.grad).all()), (
            f"{edit.kind} stops the gradient"
        )
        first = step.mask.clone()
        first[1:] = False
        alone = edit.new(before[: int(first.sum())], tried, Place(step, first))
        assert torch.allclose(alone, new[: len(alone)].detach(), atol=1e-6), f"{edit.kind} mixes tokens"
