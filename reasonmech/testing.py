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

from reasonmech.arguments import check_type
from reasonmech.coders import SparseCoder, hook_of_site, load_coder
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts import Host, ModelPair
from reasonmech.interventions.axes import Axis, Direction
from reasonmech.interventions.edits import Edit, Place
from reasonmech.interventions.masks import Where
from reasonmech.site import Site
from reasonmech.step import Step

SPECIAL: Final = ("<pad>", "<eos>", "<unk>", ".", "<think>", "</think>")
ARCHITECTURES: Final = ("llama", "qwen2", "qwen3", "gemma", "gpt2", "gpt_neox")
# A random model's two highest logits are close; with a scaled head greedy tokens survive float noise.
HEAD_GAIN: Final = 30.0
BODY_GAIN: Final = 5.0  # at the usual initial scale a random model hardly reads its input


def tiny_tokenizer(vocab_size: int = 64) -> PreTrainedTokenizerFast:
    """Words separated by blanks: `<pad> <eos> <unk> . <think> </think> w0 w1 ...`, `vocab_size` in all.

    Raises:
        DataError: a vocabulary without a word of its own.
    """
    if vocab_size <= len(SPECIAL):
        raise DataError(f"vocab_size {vocab_size}", allowed=f"more than {len(SPECIAL)}, the special tokens")
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
    """A random model of one architecture with a word tokenizer; runs anywhere, in milliseconds.

    Its norms and biases are perturbed, so that no part is the identity, and its head is scaled (`HEAD_GAIN`).

    Args:
        arch: one of `ARCHITECTURES`.
        d_model: width, in 4 heads.

    Raises:
        UnknownNameError: the architecture is not one of `ARCHITECTURES`.
        DataError: a width that 4 heads of even width cannot share, no layer, a vocabulary without a word.
    """
    if n_layers < 1 or d_model < 8 or d_model % 8:
        raise DataError(
            f"{n_layers} layers of width {d_model}", allowed="n_layers >= 1, d_model a multiple of 8"
        )
    with torch.random.fork_rng(devices=[]):  # the caller's random state goes on as if nothing had been drawn
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
    """Two random siblings: the thinking host is the base with every matrix moved a little.

    Args:
        change: standard deviation of what is added to a matrix, in standard deviations of the matrix.

    Raises:
        UnknownNameError: the architecture is not one of `ARCHITECTURES`.
    """
    base, thinking = tiny_host(arch, seed=seed), tiny_host(arch, seed=seed)
    noise = torch.Generator().manual_seed(seed + 1)
    move_matrices(thinking.model, change, noise)
    return ModelPair(name=f"tiny-{arch}-{seed}", base=base, thinking=thinking)


@torch.no_grad()
def move_matrices(model: nn.Module, change: float, noise: torch.Generator) -> None:
    """Add noise to every matrix of a model in place, `change` standard deviations of the matrix large."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            step = torch.randn(parameter.shape, generator=noise) * parameter.std()
            parameter.add_(change * step)


def tiny_coder(
    host: Host, site: Site | str = "resid_post.1", *, d_sae: int = 64, k: int = 4, seed: int = 0
) -> SparseCoder:
    """A random TopK coder that belongs to a host, read back from a directory in SAELens' layout.

    Args:
        d_sae: features.
        k: features that fire at a token, at most.

    Raises:
        ArgumentError: `host` is no host.
        UnknownNameError: the host has no such site.
        DataError: not 1 <= k <= d_sae.
    """
    check_type(host, Host, name="host", allowed="a Host", do="tiny_coder(tiny_host())")
    if not 1 <= k <= d_sae:
        raise DataError(f"k {k} of {d_sae} features", allowed="1 <= k <= d_sae")
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
            "reasonmech": {
                "model_hash": host.weight_hash,
                "model_identity": host.model_identity().beyond_weights(),
            },
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
    """Check that a mask never changes when the text grows, and sees neither padding nor other rows.

    Args:
        tokenizer: that the mask is resolved with; `tiny_tokenizer()` where none is given.
        seeds: random batches that are tried.

    Raises:
        AssertionError: it does; the text is in the message.
        ArgumentError: `where` is no mask.
    """
    check_type(where, Where, name="where", allowed="a mask", do='assert_causal(rm.tokens("."))')
    tokenizer = tokenizer or tiny_tokenizer()
    bound = where.resolve(tokenizer)
    for seed in range(seeds):
        step = tiny_step(seed=seed, vocab_size=len(tokenizer))
        full = bound.mask(step) & step.mask
        for width in range(1, step.ids.shape[1] + 1):
            shorter = replace(step, ids=step.ids[:, :width], mask=step.mask[:, :width], new=width)
            prefix = bound.mask(shorter) & shorter.mask
            assert torch.equal(prefix, full[:, :width]), (
                f"{where} changes its mind at column {width} of {step.ids}"
            )
        for row, line in enumerate(step.ids):
            unpadded = line[step.mask[row]][None]
            single = Step.of(unpadded, prompt_length=int(step.prompt_length[row]))
            assert torch.equal(bound.mask(single)[0], full[row][step.mask[row]]), (
                f"{where} depends on padding: {line}"
            )


def assert_edit_laws(edit: Edit, *, axis: Axis | None = None, seeds: int = 5) -> None:
    """Check what every edit must obey: pure, differentiable, token by token, `delta` is `new - coords`.

    Args:
        axis: on which it is tried; a random direction where none is given.
        seeds: random coordinates that are tried.

    Raises:
        AssertionError: it breaks one of them.
        ArgumentError: `edit` is no edit (an intervention has one: `.edit`).
    """
    check_type(edit, Edit, name="edit", allowed="an edit", do="assert_edit_laws(Scale(2.0))")
    for seed in range(seeds):
        random = torch.Generator().manual_seed(seed)
        target = axis or Direction.along(torch.randn(32, generator=random), "resid_post.1")
        edit.check(target)
        n_coords = target.n_coords or 32
        step = tiny_step(seed=seed)
        place = Place(step, step.mask)
        coords = torch.randn(int(step.mask.sum()), n_coords, generator=random).requires_grad_()
        original = coords.detach().clone()
        new, delta = edit.new(coords, target, place), edit.delta(coords, target, place)
        assert new.shape == coords.shape == delta.shape, (
            f"{edit.kind} changes the shape {tuple(coords.shape)}"
        )
        assert torch.equal(coords.detach(), original), f"{edit.kind} edits in place"
        assert torch.equal(new, edit.new(coords, target, place)), f"{edit.kind} is not deterministic"
        assert torch.allclose(delta, new - coords, atol=1e-5), f"{edit.kind}: delta is not new - coords"
        (coords + delta).sum().backward()
        assert coords.grad is not None and bool(torch.isfinite(coords.grad).all()), (
            f"{edit.kind} stops the gradient"
        )
        first = step.mask.clone()
        first[1:] = False
        one_row = edit.new(original[: int(first.sum())], target, Place(step, first))
        assert torch.allclose(one_row, new[: len(one_row)].detach(), atol=1e-6), f"{edit.kind} mixes tokens"
