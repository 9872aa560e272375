"""Random hosts beyond `tiny_host`: a norm after each half of a block, halves one after the other."""

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedModel,
)

from reasonmech.hosts import Host
from reasonmech.testing import BODY_GAIN, HEAD_GAIN, tiny_host, tiny_tokenizer

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
    "max_position_embeddings": 256,
}
GEMMA = SHAPE | {
    "num_key_value_heads": 2,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "attn_implementation": "eager",
}


def post_norm_host(gemma: int) -> Host:
    """A tiny Gemma 2 or 3: its halves are normed before they are added to the stream."""
    kinds = {2: (Gemma2ForCausalLM, Gemma2Config), 3: (Gemma3ForCausalLM, Gemma3TextConfig)}
    model, config = kinds[gemma]
    return _host(model, config(**GEMMA), name=f"tiny-gemma{gemma}")


def sequential_neox() -> Host:
    """A tiny GPT-NeoX whose MLP reads what attention has added to."""
    config = GPTNeoXConfig(**SHAPE, use_parallel_residual=False)
    return _host(GPTNeoXForCausalLM, config, name="tiny-sequential-neox")


def every_host(name: str) -> Host:
    """A tiny host by name."""
    match name:
        case "gemma2" | "gemma3":
            return post_norm_host(int(name[-1]))
        case "gpt_neox_sequential":
            return sequential_neox()
    return tiny_host(name)


def _host(model: type[PreTrainedModel], config: object, *, name: str) -> Host:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        made = model(config)
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape))
            else:
                parameter.mul_(BODY_GAIN)
        host = Host(made.eval(), tiny_tokenizer(), name=name)
        host.unembedding().mul_(HEAD_GAIN / BODY_GAIN)
    return host
