"""The located features that the arm `clamp` writes in place of category vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.feature_groups import Group, read_candidates
from reasonmech.hosts import Host
from reasonmech.hybrid import ClampFeatures, Kinds


@dataclass(frozen=True, eq=False)
class ClampedGroups:
    """Features of one coder in place of vectors: category -> (indices, activations they are clamped to)."""

    coder: SparseCoder
    features: Mapping[int, tuple[tuple[int, ...], tuple[float, ...]]]

    def executor(self, host: Host, n: int) -> ClampFeatures:
        return ClampFeatures(host, self.coder, features=self.features, n=n)

    def to_json(self) -> list[object]:
        return [self.coder.weight_hash, str(self.coder.site), sorted(self.features.items())]


def choose_clamped_groups(context: StageContext, kinds: Kinds) -> ClampedGroups:
    """The one coder whose groups, over all behaviours, do most over their controls.

    Groups that do no more than theirs are left out. Coders of the last layer, where a feature is hardly more
    than a logit, stand in only where there is no other.

    Raises:
        DataError: no group does more than its control.
    """
    last = f"resid_post.{context.pair.base.n_layers - 1}"
    candidates = [group for group in read_candidates(context) if group.gain > 0]
    usable = [group for group in candidates if group.site != last] or candidates
    if not usable:
        raise DataError(
            "no located group does more than matched random features: nothing to clamp",
            do="look at the notes of stages `locate` and `groups`, or leave the arm `clamp` out",
        )
    by_coder: dict[str, dict[str, Group]] = {}
    for group in sorted(usable, key=lambda group: group.gain):  # the one with the largest gain stays
        by_coder.setdefault(group.coder, {})[group.behaviour] = group
    name = max(by_coder, key=lambda coder: sum(group.gain for group in by_coder[coder].values()))
    features = {
        kinds.names.index(group.behaviour): (group.indices, tuple(group.amounts(group.dose).tolist()))
        for group in by_coder[name].values()
    }
    return ClampedGroups(read_coders(context)[name], features)
