"""A gate that reads no axis weighs the edit like any other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reasonmech.interventions import Gate, steer
from reasonmech.interventions.axes import Axis
from reasonmech.interventions.canonical import Json
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.forward import forward
from tests.laws.plans import CLOSE, DECODE, HOST, PROMPTS, direction


@dataclass(frozen=True)
class Fixed(Gate):
    """Open as far as it says."""

    open: float
    kind = "fixed"

    @property
    def reads(self) -> None:
        return None

    def weight(self, coords: Tensor) -> Tensor:
        assert coords.shape[1] == 0
        return coords.new_full((len(coords),), self.open)

    def on(self, axis: Axis) -> Gate:
        return self

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "open": self.open}


def test_half_open_is_half_the_edit() -> None:
    v = direction(0)
    half = forward(HOST, PROMPTS, [steer(v, 2.0, when=Fixed(0.5))])
    less, whole = forward(HOST, PROMPTS, [steer(v, 1.0)]), forward(HOST, PROMPTS, [steer(v, 2.0)])
    for ours, same, other in zip(half.logits, less.logits, whole.logits, strict=True):
        assert not torch.allclose(ours, other, atol=1e-2)
        assert torch.allclose(ours, same, **CLOSE)
    assert half.receipt.lines[0].n_gated == half.receipt.lines[0].n_masked


def test_shut_is_no_edit() -> None:
    plan = [steer(direction(0), 2.0, when=Fixed(0.0)).allow_no_change()]
    shut, plain = forward(HOST, PROMPTS, plan), forward(HOST, PROMPTS)
    assert all(torch.equal(a, b) for a, b in zip(shut.logits, plain.logits, strict=True))
    assert shut.receipt.lines[0].n_gated == 0 < shut.receipt.lines[0].n_masked
    written = generate(HOST, PROMPTS, plan, decode=DECODE)
    assert [r.ids for r in written] == [r.ids for r in generate(HOST, PROMPTS, decode=DECODE)]
    assert not any(any(r.steered) for r in written)
