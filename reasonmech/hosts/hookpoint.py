"""HookPoint: the side of a torch module at which one site's tensor passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from reasonmech.acting import OurHook
from reasonmech.errors import MismatchError

Hidden = Float[Tensor, "batch pos width"]
ModuleOutput = Tensor | tuple[Tensor, ...]
HiddenEdit: TypeAlias = Callable[[Tensor], Tensor | None]
ALL: Final = slice(None)


class Handle(Protocol):
    """What takes a hook out again."""

    def remove(self) -> None: ...


@final
@dataclass(frozen=True)
class Handles:
    """Several hooks that come out together."""

    parts: tuple[RemovableHandle, ...]

    def remove(self) -> None:
        for part in self.parts:
            part.remove()


def read_hidden(output: ModuleOutput) -> Tensor:
    """The hidden tensor in a module's output: the output itself, or the first of a tuple."""
    return output if isinstance(output, Tensor) else output[0]


def replace_hidden(output: ModuleOutput, new: Tensor) -> ModuleOutput:
    """The same output with its hidden tensor replaced; everything else is kept."""
    return new if isinstance(output, Tensor) else (new, *output[1:])


def put_columns(x: Float[Tensor, "*axes width"], columns: slice, new: Float[Tensor, "*axes part"]) -> Tensor:
    """A copy of x with some neighbouring columns replaced; all of them: the new tensor itself."""
    if columns == ALL:
        return new
    return torch.cat([x[..., : columns.start], new, x[..., columns.stop :]], dim=-1)


def edit_sum(added: Hidden, entered: Hidden, edit: HiddenEdit) -> Hidden | None:
    """What to add to `entered` instead of `added`, so that the sum becomes edit(entered + added).

    Where the edit leaves the sum alone, `added` keeps its bits; elsewhere it is the new sum minus `entered`.
    The gradient is that of added + (edit(sum) - sum), everywhere.
    """
    total = entered + added
    new = edit(total)
    if new is None:
        return None
    exact = torch.where(new == total, added, new - entered)
    smooth = added + (new - total)
    return exact.detach() + (smooth - smooth.detach()) if smooth.requires_grad else exact


class HookPoint(NamedTuple):
    """Where a site lives in an untouched Hugging Face model.

    Attributes:
        module: module that receives or returns the site's tensor.
        side: "input" (its first positional argument) or "output".
        columns: part of that tensor that is the site: one head of several.
        entry: module whose input is the stream that entered the block. Given for `resid_mid`, which no module
            returns: it is that stream plus what `module` (the attention half) adds, and is written through
                the latter.
    """

    module: nn.Module
    side: Literal["input", "output"]
    columns: slice = ALL
    entry: nn.Module | None = None

    def attach(self, edit: HiddenEdit) -> Handle:
        """Call `edit` with the site's tensor [batch, pos, width] in every pass, until the handle is removed.

        A returned tensor replaces it for everything downstream; None leaves the pass bit-identical.
        """
        return (
            self._at_module(self._on_columns(edit)) if self.entry is None else self._at_sum(self.entry, edit)
        )

    def _on_columns(self, edit: HiddenEdit) -> HiddenEdit:
        if self.columns == ALL:
            return edit

        def part(x: Tensor) -> Tensor | None:
            new = edit(x[..., self.columns])
            return None if new is None else put_columns(x, self.columns, new)

        return part

    def _at_module(self, edit: HiddenEdit) -> RemovableHandle:
        if self.side == "input":

            def before(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
                new = edit(_first(module, args))
                return None if new is None else (new, *args[1:])

            return self.module.register_forward_pre_hook(OurHook(before))

        def after(_: nn.Module, __: tuple[Tensor, ...], output: ModuleOutput) -> ModuleOutput | None:
            new = edit(read_hidden(output))
            return None if new is None else replace_hidden(output, new)

        return self.module.register_forward_hook(OurHook(after))

    def _at_sum(self, entry: nn.Module, edit: HiddenEdit) -> Handles:
        held: list[Tensor] = []

        def enter(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            held[:] = args[:1]

        def through(added: Tensor) -> Tensor | None:
            return edit_sum(added, held.pop(), edit)

        return Handles((entry.register_forward_pre_hook(OurHook(enter)), self._at_module(through)))


def _first(module: nn.Module, args: tuple[Tensor, ...]) -> Tensor:
    if not args:
        raise MismatchError(
            f"{type(module).__name__} is called with named arguments alone",
            allowed="blocks and projections that are given the stream as their first argument",
            do="name another module in the entry of reasonmech.hosts.architectures",
        )
    return args[0]
