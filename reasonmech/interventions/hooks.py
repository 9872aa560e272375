"""Hooks: a bound plan at work in an untouched Hugging Face model, one resident hook per place it touches."""

from __future__ import annotations

import threading
from functools import partial
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.arguments import describe
from reasonmech.errors import BindError
from reasonmech.hosts.hookpoint import ALL, Handle
from reasonmech.hosts.turn import reentry
from reasonmech.interventions.bind import BoundPlan, Stop
from reasonmech.interventions.edits import Place
from reasonmech.interventions.gates import Always, Gate
from reasonmech.interventions.gates.two_pass import TwoPassGate
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.partner_readings import NOTHING, PartnerReadings
from reasonmech.interventions.recorder import Recorder
from reasonmech.interventions.target import Target
from reasonmech.shapes import Mask, Residual
from reasonmech.step import Step


@final
class Hooks:
    """Installed once per run; `begin(step)` says what the next pass computes, without it a pass runs clean.

    They act in passes of the thread that began, and leave those of others alone. Use as a context manager:
    the model is bit-exactly itself afterwards, after an exception too.
    """

    def __init__(self, bound: BoundPlan, *, recorder: Recorder | None = None) -> None:
        self.bound, self.recorder = bound, recorder
        self._handles: list[Handle] = []
        self._columns = [bound.host.columns(intervention.site) for intervention in bound.plan]
        gate_axes = [intervention.when.reads for intervention in bound.plan]
        readers = [bound.host if i.when.role is None else bound.partner or bound.host for i in bound.plan]
        self._gate_columns = [
            ALL if axis is None else reader.columns(axis.at)
            for axis, reader in zip(gate_axes, readers, strict=True)
        ]
        self._targets: list[Target | None] = [None] * len(bound.plan)
        self._weights: list[Tensor | None] = [None] * len(bound.plan)
        self._active, self._batch = False, 0
        self._outside: list[Tensor | None] = [None] * len(bound.plan)
        self._thread, self._applying = threading.get_ident(), False

    def __enter__(self) -> Hooks:
        try:
            for stop in self.bound.stops:
                self._handles.append(self.bound.host.hook_point(stop.site).attach(partial(self.apply, stop)))
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.remove()
        if kind is None:
            self.check_weights()

    def remove(self) -> None:
        """Take every hook out of the model."""
        self.detach()
        self._active = False

    def detach(self) -> None:
        """Take every hook out of the model; whoever calls `apply` itself goes on."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def begin(self, step: Step, readings: PartnerReadings = NOTHING) -> None:
        """Compute all masks for the pass that comes next, and the gates that need not wait for it."""
        self._active = False  # a mask is anyone's code: what it runs, it runs clean
        self._batch, self._thread = len(step.ids), threading.get_ident()
        n_tokens = int(step.mask[:, -step.new :].sum())
        for i, intervention in enumerate(self.bound.plan):
            marks = intervention.where.mask(step)
            if marks.shape != step.mask.shape or marks.dtype != torch.bool:
                raise BindError(
                    f"mask {intervention.where} gave {describe(marks)} of {marks.dtype}",
                    allowed=f"one truth value per token: torch.bool of shape {tuple(step.mask.shape)}",
                    do="mend Where.mask",
                )
            if isinstance(intervention.when, TwoPassGate):
                marks = marks & mark_choosing(step)
            target = Target.of(step.computed(marks), step)
            self._targets[i] = target
            self._weights[i] = None if target is None else self._weigh_early(i, target, readings)
            if self.recorder is not None:
                self.recorder.count_masked(i, n_tokens, 0 if target is None else target.n)
        self._active = True

    @property
    def n_masked(self) -> list[int]:
        """Tokens of the pass that was begun which each intervention's mask names."""
        return [0 if target is None else target.n for target in self._targets]

    def _weigh_early(
        self, i: int, target: Target, readings: PartnerReadings
    ) -> Float[Tensor, " token"] | None:
        """Weights of a gate that need not wait for this pass; None where it is always open or has to wait."""
        gate = self.bound.plan[i].when
        if isinstance(gate, TwoPassGate):
            assert readings.host_logits is not None and target.mask.shape[1] == 1, (
                "clean logits of a position come before it"
            )
            weight = gate.weight(gate.coords(readings.host_logits, readings.partner_logits))
            return self._watched(i, weight, target.mask.shape[0])[target.mask[:, 0].to(weight.device)]
        if gate.role is not None and gate.reads is not None:
            stream = target.select(readings.streams[gate.reads.at.whole], self._gate_columns[i])
            return self._watched(i, gate.weight(gate.reads.read(widen(stream))), target.n)
        weight = weigh_without_axis(gate, target)
        return None if weight is None else self._watched(i, weight, target.n)

    def _watched(self, i: int, weight: Tensor, n: int) -> Float[Tensor, " token"]:
        """The same weights; how far they leave [0, 1] is noted on the device, and read at the end."""
        if weight.shape != (n,):
            raise BindError(
                f"gate {self.bound.plan[i].when} gave {describe(weight)}",
                allowed=f"one weight per token: shape ({n},)",
                do="mend Gate.weight",
            )
        wide = weight.detach().float()
        outside = ~((wide >= 0) & (wide <= 1)).all()  # NaN is in no interval
        earlier = self._outside[i]
        self._outside[i] = outside if earlier is None else earlier | outside
        return weight

    def check_weights(self) -> None:
        """Raise BindError where a gate has given a weight outside of [0, 1] since the hooks were made."""
        for intervention, outside in zip(self.bound.plan, self._outside, strict=True):
            if outside is not None and bool(outside):
                raise BindError(
                    f"gate {intervention.when} of {intervention.verb} at {intervention.site} gave weights "
                    "outside of [0, 1], or NaN",
                    allowed="weights from 0 (shut) to 1 (open)",
                    do="mend Gate.weight; to write more, raise the amount of the edit",
                )

    @property
    def all_shut(self) -> bool:
        """Nothing changes in the pass that was begun: no token is masked, or every gate known to be shut."""
        pairs = zip(self._targets, self._weights, strict=True)
        return all(t is None or (w is not None and not bool((w > 0).any())) for t, w in pairs)

    def end(self) -> None:
        """Let passes run clean again; `open_at_last` still speaks of the pass before."""
        self._active = False

    def open_at_last(self) -> Bool[Tensor, " batch"]:
        """Rows in which any gate was open at the last position of the latest pass."""
        rows = None
        for target, weight in zip(self._targets, self._weights, strict=True):
            if target is not None:
                marks = target.open_at_last(weight)
                rows = marks if rows is None else rows | marks
        return torch.zeros(self._batch, dtype=torch.bool) if rows is None else rows

    def n_gated_by_row(self) -> Int[Tensor, " batch"]:
        """Tokens of every row at which a gate was open in the latest pass, summed over the plan (CPU)."""
        n_gated = torch.zeros(self._batch, dtype=torch.long)
        for target, weight in zip(self._targets, self._weights, strict=True):
            if target is not None:
                n_gated += target.mark_open(weight).sum(-1)
        return n_gated

    def apply(self, stop: Stop, x: Residual) -> Residual | None:
        """What the hook of one place does with the stream: read gates, then edit in order; None leaves it
        alone.

        Raises:
            ReentryError: an edit or gate of this plan runs the model.
        """
        if not self._active or threading.get_ident() != self._thread:
            return None
        if self._applying:
            raise reentry(self.bound.host.name)
        self._applying = True
        try:
            return self._edited(stop, x)
        finally:
            self._applying = False

    def _edited(self, stop: Stop, x: Residual) -> Residual | None:
        for i in stop.gates:
            target, axis = self._targets[i], self.bound.plan[i].when.reads
            if target is not None and axis is not None:
                stream = target.select(x, self._gate_columns[i])
                weight = self.bound.plan[i].when.weight(axis.read(widen(stream)))
                self._weights[i] = self._watched(i, weight, target.n)
        edited, is_fresh = x, False
        for i in stop.edits:
            target = self._targets[i]
            if target is not None:
                before = target.select(edited, self._columns[i])
                after = change(self.bound.plan[i], before, self._weights[i], target.place)
                if self.recorder is not None:
                    self.recorder.record_edit(i, before, after, self._weights[i])
                edited = target.put(edited, after, self._columns[i], in_place=is_fresh)
                # a copy that one edit made is written into by the next: one copy for all edits of a place
                is_fresh = not target.full and self._columns[i] == ALL and not torch.is_grad_enabled()
        return None if edited is x else edited


def mark_choosing(step: Step) -> Mask:
    """Positions whose logits choose a token: the last one of the prompt, and every generated one."""
    return step.positions >= step.prompt_length[:, None] - 1


def weigh_without_axis(gate: Gate, target: Target) -> Float[Tensor, " token"] | None:
    """Weights of a gate that reads no axis; None where it is always open, or has to wait for its axis."""
    if gate.reads is not None or isinstance(gate, Always):
        return None
    return gate.weight(torch.zeros(target.n, 0))


def widen(x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
    """At least float32: a bfloat16 stream is read and edited without rounding in between."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def change(
    intervention: Intervention, x: Float[Tensor, "token d_model"], weight: Tensor | None, place: Place
) -> Float[Tensor, "token d_model"]:
    """x + g * W(edit(R(x)) - R(x)) for the tokens of `place`; a weight of None is 1. Never in place."""
    axis, edit, wide = intervention.axis, intervention.edit, widen(x)
    g = None if weight is None else weight.to(wide)[:, None]
    if axis.replaces:
        new = edit.new(wide, axis, place)
        if g is not None:
            # where the gate is fully open the new stream is taken as it is, not rounded through x
            new = torch.where(g == 1, new, wide + g * (new - wide))
        return new.to(x.dtype)
    coords = axis.read(wide) if edit.reads else wide.new_zeros(len(wide), axis.n_coords or 0)
    delta = axis.write(edit.delta(coords, axis, place))
    if intervention.error == "drop":
        delta = delta + (axis.reconstruct(wide) - wide)
    return (wide + (delta if g is None else g * delta)).to(x.dtype)
