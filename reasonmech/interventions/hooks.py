"""Hooks: a bound plan at work in an untouched Hugging Face model, one resident hook per place it touches."""

from __future__ import annotations

from functools import partial
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.hosts.hookpoint import ALL, Handle
from reasonmech.interventions.bind import Bound, Stop
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
    """Installed once per run; `begin(step)` says what the next pass computes, and without it a pass runs
    clean.

    Use as a context manager: the model is bit-exactly itself afterwards, after an exception too.
    """

    def __init__(self, bound: Bound, *, recorder: Recorder | None = None) -> None:
        self.bound, self.recorder = bound, recorder
        self._handles: list[Handle] = []
        self._columns = [bound.host.columns(intervention.site) for intervention in bound.plan]
        gates = [intervention.when.reads for intervention in bound.plan]
        readers = [bound.host if i.when.role is None else bound.partner or bound.host for i in bound.plan]
        self._gate_columns = [
            ALL if axis is None else reader.columns(axis.at)
            for axis, reader in zip(gates, readers, strict=True)
        ]
        self._targets: list[Target | None] = [None] * len(bound.plan)
        self._weights: list[Tensor | None] = [None] * len(bound.plan)
        self._active, self._batch = False, 0

    def __enter__(self) -> Hooks:
        try:
            for stop in self.bound.stops:
                self._handles.append(self.bound.host.hook_point(stop.site).attach(partial(self.apply, stop)))
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Take every hook out of the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._active = False

    def begin(self, step: Step, outside: PartnerReadings = NOTHING) -> None:
        """Compute all masks for the pass that comes next, and the gates that read what lies outside of it."""
        self._batch = len(step.ids)
        n_tokens = int(step.mask[:, -step.new :].sum())
        for i, intervention in enumerate(self.bound.plan):
            marks = intervention.where.mask(step)
            if isinstance(intervention.when, TwoPassGate):
                marks = marks & choosing(step)
            target = Target.of(step.computed(marks), step)
            self._targets[i] = target
            self._weights[i] = None if target is None else self._known(i, target, outside)
            if self.recorder is not None:
                self.recorder.saw(i, n_tokens, 0 if target is None else target.n)
        self._active = True

    @property
    def n_masked(self) -> list[int]:
        """Tokens of the pass that was begun which each intervention's mask names."""
        return [0 if target is None else target.n for target in self._targets]

    def _known(self, i: int, target: Target, outside: PartnerReadings) -> Float[Tensor, " token"] | None:
        """Weights of a gate that need not wait for this pass; None where it is always open, or has to
        wait."""
        gate = self.bound.plan[i].when
        if isinstance(gate, TwoPassGate):
            assert outside.own is not None and target.mask.shape[1] == 1, (
                "clean logits of a position come before it"
            )
            weight = gate.weight(gate.coords(outside.own, outside.partner))
            return weight[target.mask[:, 0].to(weight.device)]
        if gate.role is not None and gate.reads is not None:
            seen = target.select(outside.streams[gate.reads.at.whole], self._gate_columns[i])
            return gate.weight(gate.reads.read(working(seen)))
        return unread(gate, target)

    @property
    def shut(self) -> bool:
        """Nothing can fire in the pass that was begun: no mask names a token, or every gate is known to be
        shut."""
        pairs = zip(self._targets, self._weights, strict=True)
        return all(t is None or (w is not None and not bool((w > 0).any())) for t, w in pairs)

    def end(self) -> None:
        """Let passes run clean again; `fired_last` still speaks of the pass before."""
        self._active = False

    def fired_last(self) -> Bool[Tensor, " batch"]:
        """Rows in which any intervention fired at the last position of the latest pass."""
        fired = None
        for target, weight in zip(self._targets, self._weights, strict=True):
            if target is not None:
                here = target.last(weight)
                fired = here if fired is None else fired | here
        return torch.zeros(self._batch, dtype=torch.bool) if fired is None else fired

    def fired_by_row(self) -> Int[Tensor, " batch"]:
        """Tokens of every row at which an intervention fired in the latest pass, summed over the plan
        (CPU)."""
        fired = torch.zeros(self._batch, dtype=torch.long)
        for target, weight in zip(self._targets, self._weights, strict=True):
            if target is not None:
                fired += target.opened(weight).sum(-1)
        return fired

    def apply(self, stop: Stop, x: Residual) -> Residual | None:
        """What the hook of one place does with the stream: read gates, then edit in order; None leaves it
        alone."""
        if not self._active:
            return None
        for i in stop.gates:
            target, axis = self._targets[i], self.bound.plan[i].when.reads
            if target is not None and axis is not None:
                seen = target.select(x, self._gate_columns[i])
                self._weights[i] = self.bound.plan[i].when.weight(axis.read(working(seen)))
        edited, own = x, False
        for i in stop.edits:
            target = self._targets[i]
            if target is not None:
                before = target.select(edited, self._columns[i])
                after = change(self.bound.plan[i], before, self._weights[i], target.place)
                if self.recorder is not None:
                    self.recorder.fired(i, before, after, self._weights[i])
                edited = target.put(edited, after, self._columns[i], own=own)
                # a copy that was made here is written into by the next edit of this place: one copy for many
                # edits
                own = not target.full and self._columns[i] == ALL and not torch.is_grad_enabled()
        return None if edited is x else edited


def choosing(step: Step) -> Mask:
    """Positions whose logits choose a token: the last one of the prompt, and every generated one."""
    return step.positions >= step.prompt_length[:, None] - 1


def unread(gate: Gate, target: Target) -> Float[Tensor, " token"] | None:
    """Weights of a gate that reads no axis; None where it is always open, or has to wait for its axis."""
    return (
        gate.weight(torch.zeros(target.n, 0)) if gate.reads is None and not isinstance(gate, Always) else None
    )


def working(x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
    """At least float32: a bfloat16 stream is read and edited without rounding in between."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def change(
    intervention: Intervention, x: Float[Tensor, "token d_model"], weight: Tensor | None, place: Place
) -> Float[Tensor, "token d_model"]:
    """x + g * W(edit(R(x)) - R(x)) for the tokens of `place`; a weight of None is 1. Never in place."""
    axis, edit, wide = intervention.axis, intervention.edit, working(x)
    g = None if weight is None else weight.to(wide)[:, None]
    if axis.replaces:
        new = edit.new(wide, axis, place)
        if (
            g is not None
        ):  # where the gate is fully open the new stream is taken as it is, not rounded through x
            new = torch.where(g == 1, new, wide + g * (new - wide))
        return new.to(x.dtype)
    coords = axis.read(wide) if edit.reads else wide.new_zeros(len(wide), axis.n_coords or 0)
    delta = axis.write(edit.delta(coords, axis, place))
    if intervention.error == "drop":
        delta = delta + (axis.reconstruct(wide) - wide)
    return (wide + (delta if g is None else g * delta)).to(x.dtype)
