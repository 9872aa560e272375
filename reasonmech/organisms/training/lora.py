"""Low-rank adapters of linear layers (Hu et al. 2021, arXiv 2106.09685, eq. 3), in PEFT's file format."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from reasonmech.files import new_directory
from reasonmech.hosts.adapter import BASE_WEIGHTS

LINEARS: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_CONFIG: Final = "adapter_config.json"
_WEIGHTS: Final = "adapter_model.safetensors"
_PREFIX: Final = "base_model.model."


@dataclass(frozen=True)
class LoraShape:
    """How large an adapter is.

    Attributes:
        rank: of the change of every linear layer of the blocks.
        alpha: the change is (alpha / rank) B A.
        seed: of A; B begins at 0, so that an adapter begins as no change.
    """

    rank: int = 16
    alpha: int = 32
    seed: int = 0


@final
class LoraLinear(nn.Linear):
    """x W' + (alpha / rank) x A' B', where W stays as it is."""

    def __init__(self, linear: nn.Linear, shape: LoraShape, generator: torch.Generator) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        assert linear.bias is None
        self.weight, self.shape, self.scale = linear.weight, shape, shape.alpha / shape.rank
        start = torch.empty(shape.rank, linear.in_features)
        nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=generator)
        self.lora_A = nn.Parameter(start.to(linear.weight))
        self.lora_B = nn.Parameter(linear.weight.new_zeros(linear.out_features, shape.rank))

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + (input @ self.lora_A.T) @ self.lora_B.T * self.scale

    def merged(self) -> Tensor:
        """The weight with its change."""
        return self.weight + (self.lora_B.float() @ self.lora_A.float() * self.scale).to(self.weight)


def merged_weight(linear: nn.Linear) -> Tensor:
    """A linear layer's weight, with its adapter where it has one."""
    return linear.merged() if isinstance(linear, LoraLinear) else linear.weight


def add_lora(model: PreTrainedModel, shape: LoraShape) -> PreTrainedModel:
    """Freeze a model and put an adapter beside every linear layer of its blocks, in place."""
    generator = torch.Generator().manual_seed(shape.seed)
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in LINEARS:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, LoraLinear(module, shape, generator))
    return model


def adapted_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Name and module of every layer that has an adapter."""
    return ((name, m) for name, m in model.named_modules() if isinstance(m, LoraLinear))


def merge_lora(model: PreTrainedModel) -> PreTrainedModel:
    """Add every adapter to its weight and take it out, in place."""
    for name, layer in list(adapted_layers(model)):
        parent, _, child = name.rpartition(".")
        plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
        plain.weight = nn.Parameter(layer.merged().detach())
        setattr(model.get_submodule(parent), child, plain)
    return model


@torch.no_grad()
def round_adapters(model: nn.Module) -> None:
    """Round every adapter to bfloat16, in place: what is trained from a model goes on from what is saved."""
    for _, layer in adapted_layers(model):
        for part in (layer.lora_A, layer.lora_B):
            part.copy_(part.to(torch.bfloat16))


def save_adapter(
    model: nn.Module, directory: Path, shape: LoraShape, *, base: str, weights: str = ""
) -> None:
    """Write the adapters of a model as PEFT does, in bfloat16.

    Args:
        base: what the adapter belongs to, for people and for PEFT.
        weights: `weights_of` it, to which loading holds the base; nothing is recorded where it is empty.

    Raises:
        OutputError: there is such a directory.
    """
    tensors = {}
    for name, layer in adapted_layers(model):
        for part, value in (("lora_A", layer.lora_A), ("lora_B", layer.lora_B)):
            tensors[f"{_PREFIX}{name}.{part}.weight"] = value.detach().to("cpu", torch.bfloat16).contiguous()
    config = {
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "lora_alpha": shape.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": shape.rank,
        "target_modules": list(LINEARS),
        "task_type": "CAUSAL_LM",
    }
    recorded = {BASE_WEIGHTS: weights} if weights else {}
    with new_directory(directory) as unfinished:
        save_file(tensors, unfinished / _WEIGHTS, metadata={"format": "pt"} | recorded)
        (unfinished / _CONFIG).write_text(json.dumps(config, indent=2) + "\n")
