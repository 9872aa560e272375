"""ReceiptRecorder: counts what a plan does while it runs, and hands out the finished, checked receipt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import UnknownNameError
from reasonmech.interventions.axes import Features
from reasonmech.interventions.bind import BoundPlan
from reasonmech.interventions.edits import Clamp
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.no_change import Silence, check_changed, warn_idle
from reasonmech.receipt import Receipt, ReceiptLine
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.receipt.replay import CleanLogits, replay

ReceiptMode = Literal["sample", "full", "none"]
Result = TypeVar("Result")

SAMPLE_ROWS: Final = 16
SAMPLE_SHARE: Final = 4
"""One row in so many is replayed, clean and edited: a fifth of a short run's time on SmolLM2-135M."""
REREAD_TOKENS: Final = (
    256  # a clamp is read again on its first tokens: encoding costs as much as the coder itself
)
TINY: Final = 1e-12  # keeps the relative size of a change finite where the stream is zero


@final
class ReceiptRecorder:
    """The receipt of one run: give it to the hooks (it is their `Recorder`), run, then `finish`.

    Counts stay on the device until they are asked for, so recording never waits for it. It is the only
    mutable thing in a run under a plan: everything else is a value.
    """

    def __init__(
        self,
        bound: BoundPlan,
        mode: ReceiptMode,
        *,
        batch_size: int = 64,
        clean: CleanLogits | None = None,
    ) -> None:
        """Nothing is counted yet.

        Args:
            mode: "sample" replays a quarter of the rows for the KL, 16 at most, evenly spread, "full" all;
                "none" replays none and computes no norms.
            batch_size: rows per pass of the replay.
            clean: clean logits that runs of other plans on the same rows have left.

        Raises:
            UnknownNameError: no such mode.
        """
        if mode not in get_args(ReceiptMode):
            raise UnknownNameError("receipt", str(mode), get_args(ReceiptMode))
        self.bound, self.mode, self.batch_size, self._clean = bound, mode, batch_size, clean
        self._counts = [_Counts() for _ in bound.plan]

    def hooks(self) -> Hooks | None:
        """The plan's hooks, which tell this recorder of their passes; None for an empty plan."""
        return Hooks(self.bound, recorder=self) if self.bound.plan else None

    def count_masked(self, i: int, n_tokens: int, n_masked: int) -> None:
        """Intervention `i` met a pass with so many real tokens, so many of them named by its mask."""
        self._counts[i].n_tokens += n_tokens
        self._counts[i].n_masked += n_masked

    def record_edit(
        self,
        i: int,
        before: Float[Tensor, "token d_model"],
        after: Float[Tensor, "token d_model"],
        weight: Float[Tensor, " token"] | None,
    ) -> None:
        """Intervention `i` edited these tokens; no weight means that its gate was fully open."""
        counts, is_open = self._counts[i], None if weight is None else weight > 0
        counts.n_gated = counts.n_gated + (len(before) if is_open is None else is_open.sum())
        counts.n_changed = counts.n_changed + (after != before).any(-1).sum()
        if self.mode == "none":
            return
        before, after = before.detach().float(), after.detach().float()
        relative = (after - before).norm(dim=-1) / before.norm(dim=-1).clamp_min(TINY)
        counts.relative = counts.relative + relative.sum()
        counts.largest = torch.maximum(torch.as_tensor(counts.largest).to(relative), relative.max())
        self._reread(i, after if is_open is None else after[is_open])

    def _reread(self, i: int, after: Float[Tensor, "token d_model"]) -> None:
        intervention, counts = self.bound.plan[i], self._counts[i]
        if not (isinstance(intervention.axis, Features) and isinstance(intervention.edit, Clamp)):
            return
        first = after[: REREAD_TOKENS - counts.n_reread]
        if len(first):
            counts.reread = counts.reread + intervention.axis.read(first).detach().mean(-1).sum()
            counts.n_reread += len(first)

    def snapshot(self) -> tuple[_Counts, ...]:
        """The counts as they stand; `restore` takes back what was counted since."""
        return tuple(replace(counts) for counts in self._counts)

    def restore(self, snapshot: tuple[_Counts, ...]) -> None:
        """Forget a pass that failed and is done again."""
        self._counts = [replace(counts) for counts in snapshot]

    def finish(self, rows: Sequence[PassRow], result_of: Callable[[Receipt | None], Result]) -> Result:
        """The result of the run, with its receipt in it.

        Args:
            rows: of the run, answers included.
            result_of: makes the result from the receipt (None for an empty plan).

        Raises:
            NoChangeError: an intervention changed nothing in the whole run; the result is on it.
        """
        if not self.bound.plan:
            return result_of(None)
        receipt = self._receipt(rows)
        result = result_of(receipt)
        run = Silence(self.bound.plan, [row.ids for row in rows], result)
        check_changed(self.bound.original, receipt.lines, run=run)
        warn_idle(self.bound.original, run=run)
        return result

    def _receipt(self, rows: Sequence[PassRow]) -> Receipt:
        lines = tuple(
            counts.line(intervention, measured=self.mode != "none")
            for intervention, counts in zip(self.bound.original, self._counts, strict=True)
        )
        if self.mode == "none":
            return Receipt(lines)
        n = len(rows) if self.mode == "full" else min(SAMPLE_ROWS, -(-len(rows) // SAMPLE_SHARE))
        numbers = [i * len(rows) // n for i in range(n)]  # evenly spread
        replayed = replay(self.bound, rows, numbers, batch_size=self.batch_size, clean=self._clean)
        return Receipt(lines, replayed.kl, n, replayed.n_tokens, replayed.noop_parity)


@dataclass(eq=False)
class _Counts:
    """Of one intervention; what is a Tensor is still on the device."""

    n_tokens: int = 0
    n_masked: int = 0
    n_gated: int | Tensor = 0
    n_changed: int | Tensor = 0
    relative: float | Tensor = 0.0
    largest: float | Tensor = 0.0
    reread: float | Tensor = 0.0
    n_reread: int = 0

    def line(self, intervention: Intervention, *, measured: bool) -> ReceiptLine:
        """The sums as numbers."""
        n_gated = int(self.n_gated)
        return ReceiptLine(
            fingerprint=intervention.fingerprint,
            verb=intervention.verb,
            site=str(intervention.site),
            where=str(intervention.where),
            n_tokens=self.n_tokens,
            n_masked=self.n_masked,
            n_gated=n_gated,
            n_changed=int(self.n_changed),
            mean_relative=float(self.relative) / max(n_gated, 1) if measured else None,
            max_relative=float(self.largest) if measured else None,
            reread=float(self.reread) / self.n_reread if self.n_reread else None,
        )
