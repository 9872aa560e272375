"""accuracy: whether a rollout's answer is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from reasonmech.interventions.canonical import Json
from reasonmech.metrics.base import check_rollouts, metrics
from reasonmech.rollout import Rollouts
from reasonmech.tasks import grade


@final
@dataclass(frozen=True)
class Accuracy:
    """Made by `accuracy`."""

    name = "accuracy"
    unit = "share right"

    def measure(self, rollouts: Rollouts) -> Float[np.ndarray, " rollout"]:
        return grade(check_rollouts(rollouts)).astype(np.float64)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.name}


@metrics.register("accuracy")
def accuracy() -> Accuracy:
    """1 where the task's own grader finds the answer right, else 0; a rollout that was cut off is wrong."""
    return Accuracy()
