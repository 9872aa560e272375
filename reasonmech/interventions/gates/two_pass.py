"""Two-pass gates: weights from the next-token logits that a position gives before any edit of it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import BindError
from reasonmech.interventions.axes.axis import Axis
from reasonmech.interventions.canonical import Json
from reasonmech.interventions.gates.gate import Gate, gates
from reasonmech.shapes import NextLogits


class TwoPassGate(Gate):
    """A weight for every position that chooses a token, in generation only.

    The position is computed once without any edit of it (what comes before it keeps the edits it had); where
    the gate is open it is computed again, under the plan. Positions of the prompt other than its last choose
    nothing.
    """

    needs_partner: ClassVar[bool] = False

    @property
    def reads(self) -> None:
        return None

    def on(self, axis: Axis) -> Gate:
        return self

    @abstractmethod
    def coords(self, logits: NextLogits, partner_logits: NextLogits | None) -> Float[Tensor, "batch coord"]:
        """What `weight` is given, from the clean logits of both hosts (None: there is no partner)."""


@final
@dataclass(frozen=True, repr=False)
class Disagree(TwoPassGate):
    """Open where the two hosts would write different tokens, each at its own most probable one."""

    kind = "disagree"
    needs_partner = True

    def coords(self, logits: NextLogits, partner_logits: NextLogits | None) -> Float[Tensor, "batch coord"]:
        assert partner_logits is not None, "bind() asks for a partner"
        rows = min(logits.shape[-1], partner_logits.shape[-1])  # vocabularies may be padded differently
        ours, theirs = logits[..., :rows].argmax(-1), partner_logits[..., :rows].argmax(-1)
        return (ours != theirs.to(ours.device)).float()[:, None]

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return coords[:, 0]

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind}


@final
@dataclass(frozen=True, repr=False)
class UncertainAbove(TwoPassGate):
    """Open where the host's next-token distribution has more entropy than a threshold: -sum p ln p > t."""

    threshold: float
    kind = "uncertain_above"

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise BindError(f"uncertain_above({self.threshold})", allowed="a threshold >= 0, in nats")

    def coords(self, logits: NextLogits, partner_logits: NextLogits | None) -> Float[Tensor, "batch coord"]:
        return torch.special.entr(logits.float().softmax(-1)).sum(-1, keepdim=True)

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return (coords[:, 0] > self.threshold).to(coords.dtype)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "threshold": float(self.threshold)}


def disagree() -> Gate:
    """Open where this host and its partner would write different tokens (see `HostDecoder.of`)."""
    return Disagree()


@checked
def uncertain_above(threshold: float) -> Gate:
    """Open where the entropy of the host's clean next-token distribution exceeds it, in nats."""
    return UncertainAbove(threshold)


for _gate in (Disagree, UncertainAbove):
    gates.register(_gate.kind)(_gate)
