"""Checkpoint: the state of several trainings in one file that appears in one rename."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from reasonmech.coders.training import State, Training
from reasonmech.errors import CorruptFileError, OutputError
from reasonmech.paths import partial_of

CHECKPOINT_FILE: Final = "training.safetensors"
_VALUES: Final = "values"


def write_checkpoint(file: Path, trainings: Mapping[str, Training]) -> None:
    """Keep where every training is; the file is on the disk when this returns.

    Raises:
        OutputError: it cannot be written (a full disk); the one before it is whole.
    """
    states = {name: training.state() for name, training in trainings.items()}
    tensors = {
        f"{name}:{key}": tensor for name, state in states.items() for key, tensor in state.tensors.items()
    }
    values = json.dumps({name: state.values for name, state in states.items()})
    unfinished = partial_of(file)
    try:
        save_file(tensors, unfinished, metadata={_VALUES: values})
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
    except (OSError, SafetensorError) as error:
        need = sum(tensor.nbytes for tensor in tensors.values())
        unfinished.unlink(missing_ok=True)
        raise OutputError(
            f"{file} cannot be written: {error}; it needs {need} bytes beside the one before it",
            do="free space, and make the same call again: it goes on from the last checkpoint",
        ) from error
    unfinished.replace(file)


def read_checkpoint(file: Path, trainings: Mapping[str, Training]) -> None:
    """Put every training where it was when the file was written.

    Raises:
        CorruptFileError: it is damaged, or holds other trainings.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            values = json.loads(opened.metadata()[_VALUES])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
        for name, training in trainings.items():
            own = {
                key.removeprefix(f"{name}:"): t for key, t in tensors.items() if key.startswith(f"{name}:")
            }
            training.restore(State(own, values[name]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(
            f"{file} is no state of these trainings: {error}", do="delete it: the training begins again"
        ) from error
