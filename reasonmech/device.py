"""device_of: a device that somebody named, if this machine has it."""

from __future__ import annotations

from typing import Final

import torch

from reasonmech.arguments import check_type, describe
from reasonmech.errors import ArgumentError

ALLOWED: Final = 'a device of this machine: "cpu", "cuda:0"'


def device_of(device: str | torch.device, *, allowed: str = ALLOWED) -> torch.device:
    """The device, after something of no size was put on it.

    Raises:
        ArgumentError: it is no device (torch takes 3 for the fourth GPU), or this machine has none such.
    """
    check_type(device, (str, torch.device), name="device", allowed=allowed)
    try:
        named = torch.device(device)
        torch.empty(0, device=named)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # the second: a torch without CUDA
        raise ArgumentError(f"device is {describe(device)}: {_first_line(error)}", allowed=allowed) from error
    return named


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
