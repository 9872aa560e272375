"""behaviour_rate: how often a behaviour happens in what a model wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import numpy as np
from jaxtyping import Float

from reasonmech.arguments import check_type
from reasonmech.behaviours import behaviours
from reasonmech.door import checked
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.interventions.canonical import Json
from reasonmech.metrics.base import check_rollouts, metrics
from reasonmech.rollout import Rollouts
from reasonmech.tasks import parse

Per = Literal["opportunity", "rollout"]


@checked
@final
@dataclass(frozen=True)
class BehaviourRate:
    """Made by `behaviour_rate`."""

    behaviour: str
    per: Per = "opportunity"

    def __post_init__(self) -> None:
        check_type(
            self.behaviour,
            str,
            name="behaviour",
            allowed=", ".join(behaviours.kinds()),
            do='write rm.metrics.behaviour_rate("backtrack")',
        )
        behaviours.get(self.behaviour)
        if self.per not in get_args(Per):
            raise UnknownNameError("denominator of a rate", str(self.per), get_args(Per))

    @property
    def name(self) -> str:
        return f"{self.behaviour}_rate"

    @property
    def unit(self) -> str:
        return "onsets per opportunity" if self.per == "opportunity" else "share of rollouts"

    def measure(self, rollouts: Rollouts) -> Float[np.ndarray, " rollout"]:
        behaviour, traces = behaviours.get(self.behaviour), parse(check_rollouts(rollouts))
        if self.per == "rollout":
            return np.array([float(bool(behaviour.spans(trace))) for trace in traces])
        onsets = [[float(o.onset) for o in behaviour.opportunities(trace)] for trace in traces]
        # without any, a mean over nothing would be NaN everywhere and read as "never"
        if not any(onsets):
            raise DataError(
                f"no opportunity for {self.behaviour!r} in {len(rollouts)} rollouts: there is no rate to "
                "measure",
                do='use more or longer rollouts, or per="rollout"',
            )
        return np.array([np.mean(row) if row else np.nan for row in onsets])

    def to_json(self) -> dict[str, Json]:
        return {"kind": "behaviour_rate", "behaviour": self.behaviour, "per": self.per}


@metrics.register("behaviour_rate")
@checked
def behaviour_rate(behaviour: str, *, per: Per = "opportunity") -> BehaviourRate:
    """Onsets per opportunity of a rollout, or ("rollout") whether the behaviour happens in it at all.

    Per opportunity a rollout without one has no rate: NaN, because a moment that never came is not a refusal.
    The rate per rollout is always there, and grows with the length of what was written.

    Raises:
        UnknownNameError: no such behaviour; those registered are listed.
    """
    return BehaviourRate(behaviour, per)
