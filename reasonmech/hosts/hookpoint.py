"""HookPoint: the side of a torch module at which one site's tensor passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Hidden = Float[Tensor, "batch pos d_model"]
ModuleOutput = Tensor | tuple[Tensor, ...]


def read_hidden(output: ModuleOutput) -> Tensor:
    """The residual-width tensor in a module's output: the output itself, or the first of a tuple."""
    return output if isinstance(output, Tensor) else output[0]


def replace_hidden(output: ModuleOutput, new: Tensor) -> ModuleOutput:
    """The same output with its residual-width tensor replaced; everything else is kept."""
    return new if isinstance(output, Tensor) else (new, *output[1:])


class HookPoint(NamedTuple):
    """Where a site lives in an untouched Hugging Face model.

    Attributes:
        module: module that receives or returns the site's tensor.
        side: "input" (its first positional argument) or "output".
    """

    module: nn.Module
    side: Literal["input", "output"]

    def attach(self, edit: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `edit` with the site's tensor [batch, pos, d_model] in every pass, until the handle is removed.

        A returned tensor replaces it for everything downstream; None leaves the pass bit-identical.
        """
        if self.side == "input":

            def before(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
                new = edit(args[0])
                return None if new is None else (new, *args[1:])

            return self.module.register_forward_pre_hook(before)

        def after(_: nn.Module, __: tuple[Tensor, ...], output: ModuleOutput) -> ModuleOutput | None:
            new = edit(read_hidden(output))
            return None if new is None else replace_hidden(output, new)

        return self.module.register_forward_hook(after)
