"""Matched features: random SAE features that resemble the chosen ones in everything but what they encode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from reasonmech.arguments import check_type
from reasonmech.coders.sinks import find_sinks
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.locate.rows.checks import check_is_coder, feature_indices
from reasonmech.locate.rows.codes import encode_rows
from reasonmech.ranges import Positive, Seed

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.interventions import Features

ATTEMPTS: Final = 200  # random sets tried per set
STATS: Final = "rm.feature_stats(coder, acts.at(coder.site))"


class Tolerance(NamedTuple):
    """Largest relative difference from the target: |candidate / target - 1|.

    Attributes:
        rate: of the firing rate on the same text.
        effect: of decoder norm x mean activation, the size of what the feature usually adds to the stream.
    """

    rate: float = 0.2
    effect: float = 0.1


@checked
@final
@dataclass(frozen=True, eq=False)
class FeatureStats:
    """How often, and how strongly, each feature of a coder writes on some text.

    Attributes:
        rate: [feature] share of tokens on which it fires.
        mean_active: [feature] mean activation where it fires, in activation units.
        effect: [feature] decoder norm x mean_active, in residual-norm units.
        n_left_out: tokens that are attention sinks, at which nothing was counted.
    """

    rate: np.ndarray
    mean_active: np.ndarray
    effect: np.ndarray
    n_left_out: int = 0

    def __repr__(self) -> str:
        left_out = f", {self.n_left_out} sinks left out" if self.n_left_out else ""
        return (
            f"FeatureStats({len(self.rate)} features, {int((self.rate > 0).sum())} of which fire{left_out})"
        )


def feature_stats(coder: SparseCoder, x: Tensor) -> FeatureStats:
    """Statistics of every feature on activations x [token, d_model], attention sinks left out (`find_sinks`,
    by their norm).

    A feature that fires at the first token of a language model fires there a hundred times as strongly as
    anywhere: its mean would be that of a token at which nobody clamps it. Raises ArgumentError.
    """
    check_is_coder(coder)
    check_type(x, Tensor, name="x", allowed="a tensor [token, d_model] of the coder's site", do=STATS)
    sinks = find_sinks(lambda rows: x[rows], len(x))
    if sinks.n_sinks:
        x = x[~sinks.mask(x.float().norm(dim=-1))]
    codes = encode_rows(coder, x)
    with torch.no_grad():
        norms = coder.rows(range(coder.d_sae)).norm(dim=-1).float().cpu().numpy()
    return FeatureStats(codes.rate, codes.mean_active, norms * codes.mean_active, sinks.n_sinks)


@checked
def matched_features(
    stats: FeatureStats,
    targets: Sequence[int] | Features,
    *,
    n: Positive,
    seed: Seed = 0,
    tolerance: Tolerance | None = None,
) -> list[tuple[int, ...]]:
    """n different random sets of features, the i-th member of each matched to the i-th target.

    None is a target. Sets that hold the same features in another order are one set; a feature that never
    fires matches nothing.

    Args:
        stats: from `feature_stats`, on the text on which the arms will be compared.
        targets: the chosen features.
        n: how many sets.
        tolerance: how like is like; None: within 20 % in rate and 10 % in effect.

    Raises:
        ArgumentError: an argument is of the wrong type.
        DataError: a target is no feature of the coder, a target never fires, has no match (the nearest one is
            named), or there are fewer than n sets.
    """
    check_type(stats, FeatureStats, name="stats", allowed="statistics of all features", do=STATS)
    indices = feature_indices(targets, name="targets")
    tolerance = tolerance or Tolerance()
    pools = [_pool(stats, target, indices, tolerance) for target in indices]
    rng = np.random.default_rng(seed)
    sets: dict[frozenset[int], tuple[int, ...]] = {}
    for _ in range(ATTEMPTS * n):
        members = tuple(int(rng.choice(pool)) for pool in pools)
        if len(set(members)) == len(members):
            sets.setdefault(frozenset(members), members)
        if len(sets) == n:
            return list(sets.values())
    raise DataError(
        f"{len(sets)} different matched sets of {len(indices)} features exist, {n} were asked for "
        f"(candidates per target: {', '.join(str(len(pool)) for pool in pools)})",
        do=(f"ask for {len(sets)}, or " if sets else "") + "widen the tolerance and say so beside the result",
    )


def _pool(stats: FeatureStats, target: int, taken: Sequence[int], tolerance: Tolerance) -> np.ndarray:
    if not 0 <= target < len(stats.rate):
        raise DataError(f"no feature {target}", allowed=f"0 to {len(stats.rate) - 1}")
    if stats.rate[target] == 0:
        raise DataError(f"feature {target} never fires on this text", do="match on text on which it does")
    off_rate = np.abs(stats.rate / stats.rate[target] - 1)
    off_effect = np.abs(stats.effect / stats.effect[target] - 1)
    worst = np.maximum(off_rate / tolerance.rate, off_effect / tolerance.effect)
    worst[list(taken)] = np.inf
    worst[stats.rate == 0] = np.inf  # never firing is within 100 % of everything, and a control of nothing
    pool = np.flatnonzero(worst <= 1)
    if len(pool) == 0:
        near = int(np.argmin(worst))
        raise DataError(
            f"no feature matches feature {target}; the nearest, {near}, is {off_rate[near]:.0%} off in "
            f"firing rate and {off_effect[near]:.0%} in decoder norm x mean activation",
            allowed=f"within {tolerance.rate:.0%} and {tolerance.effect:.0%}",
            do="widen the tolerance and say so beside the result, or train a wider coder",
        )
    return pool
