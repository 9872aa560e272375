"""Training checkpoints without pickles: model and AdamW state in one file, replaced in one rename."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from reasonmech.digest import hash_tensors
from reasonmech.disk import explain_failed_writes
from reasonmech.errors import CorruptFileError, MismatchError, OutputError
from reasonmech.files import atomic_write
from reasonmech.json_text import parse_json
from reasonmech.organisms.training.lora import adapted_layers

_HEADER: Final = {"step", "recipe", "log"}
_START: Final = "start"  # added later: of adapters, what they were begun on
_ALLOWED: Final = "nothing there, or the checkpoint that a killed training with these arguments left"


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
    belongs = {"recipe": json.dumps(recipe, sort_keys=True), _START: json.dumps(_start_of(model))}
    metadata = {"step": str(step), "log": json.dumps(log)} | belongs
    with explain_failed_writes(path), atomic_write(path) as unfinished:
        save_file(tensors, unfinished, metadata=metadata)


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.AdamW, *, recipe: dict[str, Any]
) -> tuple[int, list[dict[str, Any]]]:
    """Restore model and optimizer in place; returns the number of finished steps and the log.

    Raises:
        MismatchError: the checkpoint was written by another recipe, beside other frozen weights, or of an
            adapter of another shape; the differing keys are listed.
        OutputError: the file is no checkpoint. CorruptFileError: it cannot be read.
    """
    check_checkpoint(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        step, log = int(metadata["step"]), parse_json(metadata["log"])
        earlier, current = parse_json(metadata["recipe"]), json.loads(json.dumps(recipe))
        start = parse_json(metadata[_START]) if _START in metadata else None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error
    if start is not None:
        earlier, current = earlier | start, current | _start_of(model)
    elif _start_of(model):
        warnings.warn(
            f"{path} does not say which model its adapter was begun on: it is taken for this one's",
            stacklevel=2,
        )
    if earlier != current:
        differing = sorted(k for k in earlier.keys() | current.keys() if earlier.get(k) != current.get(k))
        raise MismatchError(
            f"{path} was written by another recipe (differs in {', '.join(differing)})",
            allowed="the arguments that the training was begun with",
            do="call with those, give another output directory, or delete the checkpoint",
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


def check_checkpoint(path: Path) -> None:
    """Raise OutputError where a training would keep its checkpoint and something else lies, CorruptFileError
    where that cannot be read; nothing is changed."""
    if not path.exists() and not path.is_symlink():
        return
    try:
        if not path.is_file():
            raise _foreign(path, "a link to nothing" if path.is_symlink() else "no file")
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    if not set(header) >= _HEADER:
        raise _foreign(path, f"a file of tensors whose header names {', '.join(sorted(header)) or 'nothing'}")


def _foreign(path: Path, what: str) -> OutputError:
    return OutputError(
        f"{path} is {what}, and no checkpoint: this training would keep its own there",
        allowed=_ALLOWED,
        do="choose another output directory, or move it away; nothing was changed",
    )


def _unreadable(path: Path, error: Exception) -> CorruptFileError:
    return CorruptFileError(
        f"{path} cannot be read: {error}; this training would keep its checkpoint there",
        allowed=_ALLOWED,
        do="move it away (or, if a training of yours left it, delete it: training starts afresh), or choose "
        "another output directory; nothing was changed",
    )


def is_checkpoint(path: Path) -> bool:
    """Whether a file is one that `save_checkpoint` wrote, by what its header says."""
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.metadata() or {}) >= _HEADER
    except (SafetensorError, OSError):
        return False


def _start_of(model: nn.Module) -> dict[str, Any]:
    """What the training of adapters depends on beside its recipe: the frozen weights and the adapters' shape;
    nothing where all of a model is trained."""
    frozen = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    if not frozen:
        return {}
    shape = next((layer.shape for _, layer in adapted_layers(model)), None)
    adapter = {} if shape is None else {f"adapter.{key}": value for key, value in asdict(shape).items()}
    return adapter | {"frozen": hash_tensors(frozen)}


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
