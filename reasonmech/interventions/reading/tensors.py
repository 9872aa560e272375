"""Tensors of a plan file: numbers that stand in it, or a tensor of a safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reasonmech.errors import CorruptFileError, DataError, PickleRefusedError, UnknownNameError
from reasonmech.interventions.canonical import Json, tensor_json
from reasonmech.interventions.reading.spot import Spot

PICKLED: Final = (".pt", ".pth", ".bin", ".pkl")
ALLOWED: Final = "a list of numbers, or {file: FILE.safetensors}, with `tensor: NAME` where it holds several"
PINS: Final = ("shape", "dtype", "sha256")  # as in a plan's canonical form: checked where they are there
_ROW: Final = TypeAdapter(list[float] | list[list[float]])


def load_tensor(path: Path, name: str | None = None) -> Tensor:
    """A tensor of a safetensors file; without a name, the only one.

    Raises:
        CorruptFileError: the file is not there, or damaged. PickleRefusedError: it is a pickle.
        DataError: it holds several tensors, and none is named. UnknownNameError: none of that name.
    """
    if path.suffix in PICKLED:
        raise PickleRefusedError(
            f"{path} is a pickle; loading one executes code",
            allowed="safetensors",
            do="save the tensor with safetensors.torch.save_file",
        )
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if name is None and len(names) != 1:
                raise DataError(
                    f"{path} holds {len(names)} tensors",
                    allowed=", ".join(names),
                    do="name one: tensor: NAME",
                )
            if name is not None and name not in names:
                raise UnknownNameError(f"tensor of {path.name}", name, names)
            # of its own: what is read is a part of the file, which may be written anew
            return file.get_tensor(names[0] if name is None else name).clone()
    except (OSError, SafetensorError) as error:
        raise CorruptFileError(f"{path} cannot be read: {error}", do="give a safetensors file") from error


def read_tensor(value: Json, spot: Spot) -> Tensor:
    """A tensor where a plan file means one.

    Raises:
        ConfigError: neither numbers nor a file, or the file's tensor is not the one that is pinned.
    """
    if isinstance(value, list):
        try:
            return torch.tensor(_ROW.validate_python(value, strict=True), dtype=torch.float32)
        except (ValidationError, ValueError) as error:
            raise spot.mistyped(value, allowed=ALLOWED) from error
    if not isinstance(value, dict) or not isinstance(value.get("file"), str):
        raise spot.mistyped(value, allowed=ALLOWED)
    unknown = value.keys() - {"file", "tensor", *PINS}
    if unknown:
        raise spot.error(f"unknown keys of a tensor: {', '.join(map(str, unknown))}", allowed=ALLOWED)
    with spot.located():
        tensor = load_tensor(spot.context.path(value["file"]), value.get("tensor"))
    content = tensor_json(tensor)
    for pin in PINS:
        if pin in value and value[pin] != content[pin]:
            raise spot.error(
                f"the tensor of {value['file']} has {pin} {content[pin]}, the plan says {value[pin]}",
                allowed="the very tensor that the plan was made with",
                do=f"give that file, or leave out {pin}",
            )
    return tensor
