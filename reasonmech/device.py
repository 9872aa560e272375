"""device_of: a device that somebody named, if this machine has it."""

from __future__ import annotations

from typing import Final

import torch

from reasonmech.arguments import check_type, describe
from reasonmech.errors import ArgumentError

HALVES: Final = {
    torch.bfloat16: ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"),
    torch.float16: ("avx512_fp16", "amx_fp16", "fp16_arith"),
}
"""What a CPU calls its instructions for sums of products, as `torch.cpu.get_capabilities` names them."""

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


def computes_slowly(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a device emulates a dtype: half precision on a CPU without instructions for its products, where
    SmolLM2 was seen to take 7 times as long in bfloat16 as in float32."""
    look = getattr(torch.cpu, "get_capabilities", None)  # older versions of torch cannot tell
    if device.type != "cpu" or dtype not in HALVES or look is None:
        return False
    has = look()
    return not any(has.get(name) for name in HALVES[dtype])


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
