"""Checkpoint: the state of several trainings in one file that appears in one rename."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from reasonmech.coders.training import Training, TrainingState
from reasonmech.disk import explain_failed_writes
from reasonmech.errors import CorruptFileError
from reasonmech.files import atomic_write
from reasonmech.json_text import parse_json

CHECKPOINT_FILE: Final = "training.safetensors"
_VALUES: Final = "values"


def write_checkpoint(file: Path, trainings: Mapping[str, Training]) -> None:
    """Store where every training is; the file is on the disk when this returns.

    Raises:
        OutputError: it cannot be written (a full disk); the one before it is whole.
    """
    states = {name: training.state() for name, training in trainings.items()}
    tensors = {
        f"{name}:{key}": tensor for name, state in states.items() for key, tensor in state.tensors.items()
    }
    values = json.dumps({name: state.values for name, state in states.items()})
    n_bytes = sum(tensor.nbytes for tensor in tensors.values())
    with (
        explain_failed_writes(file, full=f"it needs {n_bytes} bytes beside the one before it"),
        atomic_write(file) as unfinished,
    ):
        save_file(tensors, unfinished, metadata={_VALUES: values})


def read_checkpoint(file: Path, trainings: Mapping[str, Training]) -> None:
    """Put every training where it was when the file was written.

    Raises:
        CorruptFileError: it is damaged, or holds other trainings.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            values = parse_json(opened.metadata()[_VALUES])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
        for name, training in trainings.items():
            prefix = f"{name}:"
            state = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
            training.restore(TrainingState(state, values[name]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CorruptFileError(
            f"{file} is no state of these trainings: {error}", do="delete it: the training begins again"
        ) from error
