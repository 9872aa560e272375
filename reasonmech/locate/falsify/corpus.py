"""Corpus: labelled text that attempts read again, split as the search split it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd
from jaxtyping import Float

from reasonmech.digest import identity_of
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.labels import Labels
from reasonmech.locate.falsify.finding import read_features
from reasonmech.locate.rows.checks import check_coder
from reasonmech.locate.rows.context import known_covariates
from reasonmech.locate.rows.sample import Search, split_by_problem
from reasonmech.ranges import Positive
from reasonmech.rollout import Rollout

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations


@final
@dataclass(frozen=True, eq=False)
class Corpus:
    """Activations, labels and the rollouts they come from.

    What is fitted is fitted on the problems that the search chose features on, and valued on the others, when
    `search` is the one that was searched with.

    Attributes:
        acts: activations at the coder's site.
        labels: the rows.
        rollouts: what `acts` was captured from, in the same order.
        search: split, draws and seed.
    """

    acts: Activations
    labels: Labels
    rollouts: Sequence[Rollout]
    search: Search = field(default_factory=Search)

    @cached_property
    def held_out(self) -> np.ndarray:
        """[row] whether the row's problem is held out. Raises DataError when a side lacks rows of a kind."""
        return split_by_problem(self.labels, self.search)

    @cached_property
    def known(self) -> pd.DataFrame:
        """Position, boundary number and token id of every row."""
        return known_covariates(self.acts, self.labels)

    @checked
    def read(self, coder: SparseCoder, features: Sequence[int]) -> Float[np.ndarray, "row feature"]:
        """Activations at the labelled rows, in activation units. Raises MismatchError on a foreign coder."""
        check_coder(coder, identity_of(self.acts, self.acts.host_hash))
        return read_features(coder, self.acts.rows(coder.site, self.labels), features)

    @checked
    def words_before(self, window: Positive) -> list[tuple[int, ...]]:
        """[row] the token that is read and those before it, `window` in all where there are as many.

        Raises:
            DataError: a row that the rollouts do not have. MismatchError: rollouts that were not labelled.
        """
        self.labels.check_rollouts(self.rollouts)
        words = []
        for r, position in zip(self.labels.rollout.tolist(), self.labels.position.tolist(), strict=True):
            if r >= len(self.rollouts) or position >= len(self.rollouts[r].all_ids):
                raise DataError(
                    f"a label points at position {position} of rollout {r}, which the rollouts do not have",
                    do="give the rollouts that the activations were captured from",
                )
            words.append(self.rollouts[r].all_ids[max(0, position - window + 1) : position + 1])
        return words
