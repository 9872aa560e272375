"""DirectPath: how much of an intervention's effect on an onset word goes straight to the unembedding."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import DataError
from reasonmech.experiments.stages.moments import BehaviourMoments, Onsets
from reasonmech.hosts import Host
from reasonmech.interventions import Direction, Features
from reasonmech.runtime import capture
from reasonmech.site import Site
from reasonmech.stats import Interval, by_problem, fieller

STREAM = ("resid_pre", "resid_mid", "resid_post")  # what is written there is added to the stream itself


class StreamAtMoments:
    """What a host's stream holds at the moments, at one site and before the head.

    Attributes:
        x: [moment, d_model] at the site.
        last: [moment, d_model] after the last layer.
    """

    def __init__(self, host: Host, moments: BehaviourMoments, site: Site) -> None:
        """Read both. Raises DataError at a site that is not the stream's."""
        if site.kind not in STREAM:
            raise DataError(
                f"the direct path from {site} to the unembedding", allowed=", ".join(STREAM),
                do="write into the stream: elsewhere a norm or a projection comes in between",
            )  # fmt: skip
        self.host, last = host, Site("resid_post", host.n_layers - 1)
        acts = capture(host, list(moments.rollouts), list({site, last}), progress=False)
        tokens = torch.from_numpy(_rows_of(moments))
        self.x, self.last = acts.take(site, tokens).float(), acts.take(last, tokens).float()

    @torch.no_grad()
    def log_shares(self, change: Float[Tensor, "moment d_model"], onsets: Onsets) -> np.ndarray:
        """[moment, kind] where the head alone reads a change of the stream, and no layer in between."""
        return onsets.log_shares(self.host.logits_of((self.last + change).to(self.host.device)))

    def written_by(self, features: Features, amounts: Float[Tensor, " coord"]) -> Tensor:
        """[moment, d_model] what clamping features to amounts adds there; 0 each: what ablation adds."""
        with torch.no_grad():
            return features.write(amounts.to(self.x) - features.read(self.x))

    def along(self, direction: Direction, amount: float) -> Tensor:
        """[moment, d_model] what steering adds."""
        return (amount * direction.vector.to(self.x)).expand_as(self.x)


def _rows_of(moments: BehaviourMoments) -> np.ndarray:
    """Rows of the index of a capture of the moments' rollouts."""
    rows, offset = [], 0
    for rollout, positions in zip(moments.rollouts, moments.positions, strict=True):
        rows += [offset + position for position in positions]
        offset += len(rollout.all_ids)
    return np.array(rows, dtype=np.int64)


def direct_share(
    moments: BehaviourMoments, *, untouched: np.ndarray, direct: np.ndarray, touched: np.ndarray
) -> Interval:
    """Share of the change of log-odds that the direct path gives by itself, by Fieller over problems.

    Args:
        untouched, direct, touched: [moment] log-probability of the onset.
    """
    clean, straight, whole = (_log_odds(log_p) for log_p in (untouched, direct, touched))
    problems = moments.problems
    return fieller(by_problem(straight - clean, problems), by_problem(whole - clean, problems))


def _log_odds(log_p: np.ndarray) -> np.ndarray:
    """log p - log(1 - p), where p may be 1 to the last digit."""
    return log_p - np.log(np.maximum(-np.expm1(log_p), 1e-12))
