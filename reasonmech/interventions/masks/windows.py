"""Masks that name windows: every token, and stretches of the prompt and of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch

from reasonmech.arguments import check_whole
from reasonmech.errors import BindError
from reasonmech.interventions.masks.where import Where, masks
from reasonmech.shapes import Mask
from reasonmech.step import Step


@masks.register("everywhere")
@final
@dataclass(frozen=True, repr=False)
class Everywhere(Where):
    """Every token."""

    kind = "everywhere"

    def mask(self, step: Step) -> Mask:
        return torch.ones_like(step.mask)


@masks.register("prompt")
@final
@dataclass(frozen=True, repr=False)
class InPrompt(Where):
    """Prompt tokens in the window [start, stop) of the prompt; negative bounds count from its end."""

    start: int | None = None
    stop: int | None = None
    kind = "prompt"

    def __post_init__(self) -> None:
        _check_bounds(self)

    def mask(self, step: Step) -> Mask:
        at, length = step.positions, step.prompt_length[:, None]
        inside = at < length
        if self.start is not None:
            inside &= at >= (self.start if self.start >= 0 else length + self.start)
        if self.stop is not None:
            inside &= at < (self.stop if self.stop >= 0 else length + self.stop)
        return inside


@masks.register("generated")
@final
@dataclass(frozen=True, repr=False)
class Generated(Where):
    """Generated tokens in the window [start, stop), counted from the first one."""

    start: int | None = None
    stop: int | None = None
    kind = "generated"

    def __post_init__(self) -> None:
        _check_bounds(self)
        if min(self.start or 0, self.stop or 0) < 0:
            raise BindError(
                f"generated(start={self.start}, stop={self.stop})",
                allowed="bounds >= 0: nobody knows yet where a growing text ends",
            )

    def mask(self, step: Step) -> Mask:
        offset = step.positions - step.prompt_length[:, None]
        inside = offset >= (self.start or 0)
        return inside if self.stop is None else inside & (offset < self.stop)


def _check_bounds(window: InPrompt | Generated) -> None:
    """Bounds are whole numbers or None. Raises ArgumentError."""
    for name, bound in (("start", window.start), ("stop", window.stop)):
        if bound is not None:
            number = check_whole(
                bound,
                name=f"{name} of {window.kind}()",
                allowed="an integer, or None",
                do=f"rm.{window.kind}(start=1, stop=4)",
            )
            object.__setattr__(window, name, number)


EVERYWHERE: Final = Everywhere()


def everywhere() -> Where:
    """Every token of prompt and answer."""
    return EVERYWHERE


def prompt(start: int | None = None, stop: int | None = None) -> Where:
    """Prompt tokens [start, stop); `prompt(start=-1)` is where the first generated token is chosen."""
    return InPrompt(start, stop)


def generated(start: int | None = None, stop: int | None = None) -> Where:
    """Generated tokens [start, stop). The first one is chosen at the prompt's end: this cannot change it."""
    return Generated(start, stop)
