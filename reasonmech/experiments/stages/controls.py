"""Controls: random features of a coder, matched to located ones on the text on which both are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch

from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError
from reasonmech.locate import FeatureStats, Tolerance, feature_stats, matched_features
from reasonmech.runtime import Activations

# (rate, effect), relative: the first that has enough matches is used, so the narrow ones stand first
TOLERANCES: Final = ((0.2, 0.1), (0.5, 0.3), (1.0, 1.0))


class ControlSets(NamedTuple):
    """Random sets of features, and the narrowest tolerance that had enough of them."""

    sets: list[tuple[int, ...]]
    tolerance: Tolerance

    @property
    def description(self) -> str:
        """What the controls are, for a reader of the result."""
        rate, effect = self.tolerance
        return f"random features matched within {rate:.0%} in firing rate and {effect:.0%} in strength"


def written_stats(coder: SparseCoder, acts: Activations) -> FeatureStats:
    """Statistics of every feature over the answers: no prompt.

    What the environment wrote counts: the moments of a backtrack are the ends of read-backs, and an ablation
    acts on those tokens too.
    """
    answers = np.flatnonzero(acts.index.generated.to_numpy(bool))
    return feature_stats(coder, acts.take(coder.site, torch.from_numpy(answers)))


def draw_controls(
    stats: FeatureStats,
    indices: Sequence[int],
    *,
    n: int,
    seed: int,
    tolerances: Sequence[tuple[float, float]],
) -> ControlSets:
    """`n` random sets like `indices`, from the first tolerance (rate, effect) that has so many.

    Raises:
        DataError: none has; the message says what each lacked.
    """
    silent = [i for i in indices if 0 <= i < len(stats.rate) and stats.rate[i] == 0]
    if silent or not indices:  # no tolerance helps
        raise DataError(
            f"features {silent} never fire on the text on which controls are matched: nothing is like them",
            do="match on text on which they fire, or leave them out",
        )
    lacking = []
    for rate, effect in tolerances:
        tolerance = Tolerance(rate, effect)
        try:
            return ControlSets(
                matched_features(stats, tuple(indices), n=n, seed=seed, tolerance=tolerance), tolerance
            )
        except DataError as error:
            lacking.append(f"within {rate:.0%} and {effect:.0%}: {error.happened}")
    raise DataError(
        f"no random features match features {list(indices)}: {'; '.join(lacking)}",
        do="widen `tolerances`, or train wider coders",
    )
