"""KlMatching: how strong a control must be to change as much of what a model writes next as an arm does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, final

import numpy as np
import torch

from reasonmech.experiments.stages.moments import BATCH, BehaviourMoments, pass_rows
from reasonmech.hosts import Host
from reasonmech.interventions import Intervention, bind
from reasonmech.interventions.hooks import Hooks
from reasonmech.runtime.passes import run_passes

ROLLOUTS: Final = 12  # on which KL is measured
WITHIN: Final = 0.1  # relative distance from the target at which a control is matched
DOUBLINGS: Final = 8  # of the first amount, either way
HALVINGS: Final = 5  # of the bracket, in log amount

Plan = Sequence[Intervention]


class KlMatch(NamedTuple):
    """The amount at which a control comes nearest to a target, and what it reaches.

    Attributes:
        kl: nats per moment; it falls short of the target where no amount reaches it.
    """

    amount: float
    kl: float
    target: float

    @property
    def matched(self) -> bool:
        return abs(self.kl - self.target) <= WITHIN * self.target


@final
class KlMeter:
    """Mean KL(untouched, edited) of next-token distributions at the moments of a few texts, nats."""

    def __init__(self, host: Host, moments: BehaviourMoments) -> None:
        self._host, self._moments = host, moments.thinned(ROLLOUTS)
        self._clean = self._log_probabilities(())

    def measure(self, plan: Plan) -> float:
        """Nats per moment."""
        edited = self._log_probabilities(plan)
        pairs = zip(self._clean, edited, strict=True)
        kl = [(clean.exp() * (clean - new)).nansum(-1).numpy() for clean, new in pairs]
        return max(float(np.concatenate(kl).mean()), 0.0)

    def match(self, plan_of: Callable[[float], Plan], target: float, *, first: float) -> KlMatch:
        """The least amount whose KL is the target: doubled or halved until it is passed, then bisected.

        Args:
            plan_of: the control of an amount.
            first: amount that is tried first.
        """
        tried = {first: self.measure(plan_of(first))}
        factor = 2.0 if tried[first] < target else 0.5
        amount = first
        for _ in range(DOUBLINGS):
            if (tried[amount] >= target) == (factor > 1):
                break
            amount *= factor
            tried[amount] = self.measure(plan_of(amount))
        if factor > 1 and tried[amount] < target:
            return _nearest(tried, target)
        low, high = sorted((amount, amount / factor)) if len(tried) > 1 else (amount / 2, amount)
        for _ in range(HALVINGS):
            if abs(tried[amount] - target) <= WITHIN * target:
                break
            amount = float(np.sqrt(low * high))
            tried[amount] = self.measure(plan_of(amount))
            low, high = (low, amount) if tried[amount] >= target else (amount, high)
        return _nearest(tried, target)

    @torch.no_grad()
    def _log_probabilities(self, plan: Plan) -> list[torch.Tensor]:
        """[text][moment, vocab], on the CPU."""
        rows = pass_rows(self._moments)
        hooks = Hooks(bind(plan, self._host)) if plan else None
        by_row = {
            row: logits[list(self._moments.positions[row])].double().log_softmax(-1).cpu()
            for row, logits in run_passes(self._host, rows, hooks=hooks, batch_size=BATCH)
        }
        return [by_row[row] for row in range(len(rows))]


def _nearest(tried: dict[float, float], target: float) -> KlMatch:
    amount = min(tried, key=lambda a: abs(tried[a] - target))
    return KlMatch(amount, tried[amount], target)
