"""Groups of features: which are written and removed for a behaviour, and what they do on fitting problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.experiments.ledger import Cause
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.tables import read_json


@dataclass(frozen=True)
class Group:
    """Features of one coder that go with a behaviour, the best first.

    Attributes:
        source, among: the search that ranked them.
        indices: features that are clamped.
        mean_active: of each where it fires on the base's own text, in activation units: dose 1.
        wider: features that are ablated, `indices` among them.
        dose: the dose with the strongest effect on the fitting problems.
        effect: mean P(onset) in the base at that dose minus untouched, on the fitting problems.
        control: the same for random features matched to `indices`, at the same dose.
        removal: mean P(onset) in the thinking model, untouched minus with `wider` ablated, on the fitting
            problems.
        room: the largest effect that there can be, up to P(onset) = 1 in the base.
        removable: the largest removal, P(onset) of the untouched thinking model.
    """

    behaviour: str
    coder: str
    site: str
    source: str
    among: str
    indices: tuple[int, ...]
    mean_active: tuple[float, ...]
    wider: tuple[int, ...]
    dose: float = 0.0
    effect: float = 0.0
    control: float = 0.0
    removal: float = 0.0
    room: float = 1.0
    removable: float = 1.0

    @property
    def gain(self) -> float:
        """Effect over control; a control that does harm lends the group nothing."""
        return self.effect - max(self.control, 0.0)

    def amounts(self, dose: float) -> Float[Tensor, " coord"]:
        """What each feature is clamped to at a dose, in activation units."""
        return dose * torch.tensor(self.mean_active)


class GroupChoice(NamedTuple):
    """The groups of one behaviour: where writing features does most, and where removing them does."""

    clamp: Group
    ablate: Group


def read_groups(context: StageContext) -> list[GroupChoice]:
    """The chosen groups of each behaviour that has any."""
    return [GroupChoice(*_parse(pair)) for pair in read_json(context.of("groups") / "groups.json")["chosen"]]


def read_candidates(context: StageContext) -> list[Group]:
    """Every group that was tried, of each behaviour in every coder."""
    return _parse(read_json(context.of("groups") / "groups.json")["candidates"])


def read_absent(context: StageContext) -> dict[str, Cause]:
    """Behaviours that were to have a group and have none, each with the first cause."""
    ledger = context.ledger_of("groups")
    causes = {behaviour: ledger.cause("group", behaviour) for behaviour in ledger.planned("group")}
    return {
        behaviour: cause.of_item(f"group of {behaviour}")
        for behaviour, cause in causes.items()
        if cause is not None
    }


def _parse(rows: list[dict[str, object]]) -> list[Group]:
    pairs = ({k: tuple(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
    return [Group(**row) for row in pairs]  # pyright: ignore[reportArgumentType]
