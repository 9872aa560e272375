"""Training checkpoints without pickles: model and AdamW state in one file, replaced in one rename."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from reasonmech.disk import explain_failed_writes
from reasonmech.errors import CorruptFileError, MismatchError
from reasonmech.files import atomic_write
from reasonmech.json_text import parse_json


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    *,
    step: int,
    recipe: dict[str, Any],
    log: list[dict[str, Any]],
) -> None:
    """Write everything that a killed training needs to go on, in one rename; what is frozen it has.

    Raises:
        OutputError: the disk is full; the checkpoint before this one is whole.
    """
    tensors = {f"model.{name}": p.detach().clone() for name, p in _trained(model)}
    for name, parameter in _trained(model):
        for key, value in optimizer.state[parameter].items():
            tensors[f"adamw.{key}.{name}"] = value.detach().clone()
    metadata = {"step": str(step), "recipe": json.dumps(recipe, sort_keys=True), "log": json.dumps(log)}
    with explain_failed_writes(path), atomic_write(path) as unfinished:
        save_file(tensors, unfinished, metadata=metadata)


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.AdamW, *, recipe: dict[str, Any]
) -> tuple[int, list[dict[str, Any]]]:
    """Restore model and optimizer in place; returns the number of finished steps and the log.

    Raises:
        MismatchError: the checkpoint was written by another recipe; the differing keys are listed.
        CorruptFileError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        step, log = int(metadata["step"]), parse_json(metadata["log"])
        earlier, current = parse_json(metadata["recipe"]), json.loads(json.dumps(recipe))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(
            f"{path} cannot be read: {error}", do="delete it; training starts afresh"
        ) from error
    if earlier != current:
        differing = sorted(k for k in earlier.keys() | current.keys() if earlier.get(k) != current.get(k))
        raise MismatchError(
            f"{path} was written by another recipe (differs in {', '.join(differing)})",
            do="give another output directory, or delete the checkpoint",
        )
    with torch.no_grad():
        for name, parameter in _trained(model):
            parameter.copy_(tensors[f"model.{name}"])
            state = {
                k.split(".", 2)[1]: v
                for k, v in tensors.items()
                if k.startswith("adamw.") and k.split(".", 2)[2] == name
            }
            if state:
                # as AdamW keeps them: moments beside the parameter, the count of steps where it was
                optimizer.state[parameter] = {
                    k: v if k == "step" else v.to(parameter.device) for k, v in state.items()
                }
    return step, log


def is_checkpoint(path: Path) -> bool:
    """Whether a file is one that `save_checkpoint` wrote, by what its header says."""
    try:
        with safe_open(path, framework="pt") as file:
            return {"step", "recipe", "log"} <= set(file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


@final
class Snapshots:
    """Intermediate models of one training, evenly spaced, in `<checkpoint>-snapshots/000123/`."""

    def __init__(self, checkpoint: Path, n: int, total: int) -> None:
        self.folder = checkpoint.with_name(checkpoint.stem + "-snapshots")
        self.at = {round(total * (i + 1) / n) for i in range(n)} if n else set()

    def after(self, step: int, model: PreTrainedModel) -> None:
        """Keep the model after `step` steps, if that is one of the moments; written whole or not at all."""
        if step not in self.at:
            return
        with explain_failed_writes(self.folder), atomic_write(self.folder / f"{step:06d}") as unfinished:
            model.save_pretrained(unfinished)
