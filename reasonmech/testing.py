"""Helpers for tests of plug-ins: random hosts and coders that are small enough to run anywhere."""

from __future__ import annotations

from typing import Any, Final

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
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

from reasonmech.errors import UnknownNameError
from reasonmech.hosts.host import Host

SPECIAL: Final = ("<pad>", "<eos>", "<unk>", ".", "<think>", "</think>")
ARCHITECTURES: Final = ("llama", "qwen2", "qwen3", "gemma", "gpt2", "gpt_neox")
HEAD_GAIN: Final = 30.0  # a random model's top two logits are close; scaled, greedy tokens survive float noise
BODY_GAIN: Final = 5.0  # at the usual initial scale a random model hardly reads its input


def tiny_tokenizer(vocab_size: int = 64) -> PreTrainedTokenizerFast:
    """Words separated by blanks: `<pad> <eos> <unk> . <think> </think> w0 w1 ...`, `vocab_size` in all."""
    words = [*SPECIAL, *(f"w{i}" for i in range(vocab_size - len(SPECIAL)))]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def tiny_host(
    arch: str = "llama",
    *,
    seed: int = 0,
    n_layers: int = 4,
    d_model: int = 32,
    vocab_size: int = 64,
    dtype: torch.dtype = torch.float32,
) -> Host:
    """A random model of one architecture with a word tokenizer, its norms and biases perturbed, its head scaled by 30.

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
            model.get_output_embeddings().weight.mul_(HEAD_GAIN / BODY_GAIN)
    return Host(model.to(dtype).eval(), tiny_tokenizer(vocab_size), name=f"tiny-{arch}-{seed}")


def _model(arch: str, *, n_layers: int, d_model: int, vocab_size: int) -> PreTrainedModel:
    special: dict[str, Any] = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0, "tie_word_embeddings": False}
    shape: dict[str, Any] = {
        "hidden_size": d_model,
        "num_hidden_layers": n_layers,
        "num_attention_heads": 4,
        "vocab_size": vocab_size,
    }
    rope: dict[str, Any] = special | shape | {"intermediate_size": 2 * d_model, "max_position_embeddings": 256}
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
