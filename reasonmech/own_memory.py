"""own_memory: what was read from a file, in memory of its own, whatever becomes of the file."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def own_memory(module: nn.Module) -> None:
    """Copy every tensor that a module has on the CPU, in place; tensors that are one stay one.

    safetensors maps files into memory. Where somebody copies other weights over such a file (`cp`, `rsync
    --inplace`), a mapped model becomes another without a word, or the process dies where the file is shorter.
    """
    copies: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Tensor] = {}
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.device.type == "cpu":
            key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
            if key not in copies:
                copies[key] = tensor.data.clone()
            tensor.data = copies[key]
