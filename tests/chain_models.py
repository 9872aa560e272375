"""Random chain models with margins wide enough that no tolerance can flip a token."""

from __future__ import annotations

from dataclasses import replace

import torch
from transformers import LlamaForCausalLM

from reasonmech.hosts import Host, ModelPair
from reasonmech.organisms.training.pretrain import PretrainRecipe, new_model
from reasonmech.tasks.chain import word_tokenizer

SMALL = PretrainRecipe(n_layers=4, d_model=32, n_heads=2, d_mlp=64)


def random_model(seed: int) -> LlamaForCausalLM:
    made = new_model(replace(SMALL, seed=seed))
    with torch.no_grad():
        made.model.embed_tokens.weight.mul_(20)
        for parameter in made.model.layers.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return made


def random_pair() -> ModelPair:
    """Two siblings that are mostly of one opinion."""
    base, thinking, tokenizer = random_model(0), random_model(0), word_tokenizer()
    with torch.no_grad():
        thinking.model.layers[2].mlp.down_proj.weight.mul_(2)
    return ModelPair(
        "random", Host(base, tokenizer, name="base"), Host(thinking, tokenizer, name="thinking"), "chain"
    )
