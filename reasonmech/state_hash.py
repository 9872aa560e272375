"""StateHash: the hash of a module's tensors, made again where one of them was edited."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import TYPE_CHECKING, Final, NamedTuple, final

from reasonmech.digest import hash_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

WHOLE: Final = 4096  # elements up to which all of a tensor is looked at when it is asked whether it changed


class TensorMark(NamedTuple):
    """Where a tensor lies, torch's counter of its edits, and a hash of some of its elements."""

    place: int
    version: int
    dtype: str
    sample: int


@final
class StateHash:
    """SHA-256 of a module's state dict, computed when first asked for, and again where a tensor was edited.

    An edit is noticed by the tensor's place, torch's version counter, and its elements: all of a tensor of
    up to `WHOLE`, of a larger matrix some of every row and every column. What `.data` or numpy does to a few
    elements of a large matrix is not.
    """

    def __init__(self, module: nn.Module, salt: Callable[[], str] = str) -> None:
        """`salt` says what else is hashed, first."""
        self._module, self._salt = module, salt
        self._marked: tuple[str, dict[str, TensorMark]] = ("", {})
        self._hash = ""

    def value(self) -> str:
        state, salt = self._module.state_dict(), self._salt()
        marked = (salt, marks_of(state))
        if marked != self._marked or not self._hash:
            self._hash, self._marked = hash_tensors(state, salt=salt), marked
        return self._hash


def marks_of(state: dict[str, Tensor]) -> dict[str, TensorMark]:
    """A mark of every tensor; one that has two names is looked at once."""
    marks: dict[tuple[int, int], TensorMark] = {}
    by_name: dict[str, TensorMark] = {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.numel())
        by_name[name] = marks[key] = marks.get(key) or _mark(tensor)
    return by_name


def _mark(tensor: Tensor) -> TensorMark:
    import torch

    flat = tensor.detach().reshape(-1)
    sample = flat[:: _step(tensor)].contiguous().view(torch.uint8).cpu()
    version = -1 if tensor.is_inference() else tensor._version
    return TensorMark(tensor.data_ptr(), version, str(tensor.dtype), hash(sample.numpy().tobytes()))


def _step(tensor: Tensor) -> int:
    """How far apart elements lie of which every row and every column of a matrix has one."""
    n = tensor.numel()
    if n <= WHOLE:
        return 1
    width = tensor.shape[-1]
    step = min(width, n // width)
    while gcd(step, width) > 1:
        step -= 1
    return step
