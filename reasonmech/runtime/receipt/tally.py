"""Tally: what each intervention of a plan did, summed over the passes of a run without waiting for the
device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.interventions.axes import Features
from reasonmech.interventions.edits import Clamp
from reasonmech.interventions.intervention import Intervention

REREAD_TOKENS: Final = (
    256  # re-encoding costs as much as the coder itself, so a clamp is re-read on its first tokens
)
TINY: Final = 1e-12


class Effect(NamedTuple):
    """What one intervention did in a run.

    Attributes:
        n_tokens: tokens that passed its site.
        n_masked: tokens that its mask named.
        n_fired: those of them at which its gate was open (weight > 0).
        mean_relative, max_relative: ||change|| / ||stream||, over the tokens at which it fired (0 when none);
            None where no norms were computed.
        reread: mean coordinate found when the stream is encoded again after a clamp; None for other edits.
    """

    n_tokens: int
    n_masked: int
    n_fired: int
    mean_relative: float | None
    max_relative: float | None
    reread: float | None


@dataclass(eq=False)
class _Sums:
    n_tokens: int = 0
    n_masked: int = 0
    n_fired: int | Tensor = 0
    relative: float | Tensor = 0.0
    largest: float | Tensor = 0.0
    reread: float | Tensor = 0.0
    n_reread: int = 0


@final
class Tally:
    """Running sums per intervention. The only mutable thing in this package: everything else is a value."""

    def __init__(self, plan: tuple[Intervention, ...], *, measure: bool = True) -> None:
        """`measure=False` counts tokens only, and computes no norms."""
        self.plan, self.measure = plan, measure
        self._sums = [_Sums() for _ in plan]

    def saw(self, i: int, n_tokens: int, n_masked: int) -> None:
        """Intervention `i` met a pass with so many real tokens, so many of them named by its mask."""
        self._sums[i].n_tokens += n_tokens
        self._sums[i].n_masked += n_masked

    def fired(
        self,
        i: int,
        before: Float[Tensor, "token d_model"],
        after: Float[Tensor, "token d_model"],
        weight: Float[Tensor, " token"] | None,
    ) -> None:
        """Intervention `i` changed these tokens; no weight means fully open."""
        sums, open_ = self._sums[i], None if weight is None else weight > 0
        sums.n_fired = sums.n_fired + (len(before) if open_ is None else open_.sum())
        if not self.measure:
            return
        before, after = before.detach().float(), after.detach().float()
        relative = (after - before).norm(dim=-1) / before.norm(dim=-1).clamp_min(TINY)
        sums.relative = sums.relative + relative.sum()
        sums.largest = torch.maximum(torch.as_tensor(sums.largest).to(relative), relative.max())
        self._reread(i, after, open_)

    def _reread(self, i: int, after: Tensor, open_: Tensor | None) -> None:
        intervention, sums = self.plan[i], self._sums[i]
        if not (isinstance(intervention.axis, Features) and isinstance(intervention.edit, Clamp)):
            return
        some = after if open_ is None else after[open_]
        some = some[: REREAD_TOKENS - sums.n_reread]
        if len(some):
            sums.reread = sums.reread + intervention.axis.read(some).detach().mean(-1).sum()
            sums.n_reread += len(some)

    def mark(self) -> tuple[_Sums, ...]:
        """The sums as they stand; `back_to` takes back what was counted since."""
        return tuple(replace(sums) for sums in self._sums)

    def back_to(self, mark: tuple[_Sums, ...]) -> None:
        """Forget a pass that failed and is done again."""
        self._sums = [replace(sums) for sums in mark]

    def effects(self) -> tuple[Effect, ...]:
        """The sums as numbers, one per intervention."""
        return tuple(_effect(sums, measured=self.measure) for sums in self._sums)


def _effect(sums: _Sums, *, measured: bool) -> Effect:
    n_fired = int(sums.n_fired)
    return Effect(
        n_tokens=sums.n_tokens,
        n_masked=sums.n_masked,
        n_fired=n_fired,
        mean_relative=float(sums.relative) / max(n_fired, 1) if measured else None,
        max_relative=float(sums.largest) if measured else None,
        reread=float(sums.reread) / sums.n_reread if sums.n_reread else None,
    )
