"""Null draws: how often anything is discovered, and survives, where there is nothing to find."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

import numpy as np

from reasonmech.locate.falsify.effects import CueCells, Versions
from reasonmech.locate.falsify.rule import BEYOND_ITS_CUE, DriverRule, classify
from reasonmech.locate.falsify.validation import EXPECTED
from reasonmech.locate.rows.codes import Codes
from reasonmech.locate.rows.sample import Sample
from reasonmech.locate.scoring.auroc import Auroc
from reasonmech.simulators import (
    INSERTED,
    PlantedDictionary,
    PlantedFeature,
    planted_cells,
    planted_texts,
    replicates,
)
from reasonmech.simulators.planted import embed
from reasonmech.stats import Interval, bh, clopper_pearson

COPIES: Final = 5  # features of each kind in a dictionary
EVERY: Final = 4  # tokens between two labelled ones


class NullDraws(NamedTuple):
    """In how many draws something was discovered where nothing is.

    Attributes:
        draws: how many draws.
        discovered: in which a feature passes the search, at a false-discovery rate of q.
        survived: in which a feature passes it and is then said to go beyond its cue, on contexts that are the
            same.
        beyond: in which any feature at all, searched for or not, is said to go beyond its cue on such
            contexts.
    """

    draws: int
    discovered: int
    survived: int
    beyond: int

    def share(self, count: int) -> Interval:
        """A count as a share of the draws, with its exact 95 % interval."""
        return clopper_pearson(count, self.draws)


def null_draws(
    *,
    draws: int = 200,
    texts: int = 100,
    q: float = 0.05,
    seed: int = 0,
    rule: DriverRule | None = None,
    progress: bool = True,
) -> NullDraws:
    """A/A: labels that have nothing to do with the features, and a context that is the neutral one again.

    Each draw searches 50 features of all kinds in `texts` texts, the problems, whose labels come and go with
    the problem; then reads paired texts in which both contexts are neutral. Where nothing is there, every
    discovery is false, so the false-discovery rate is the share of draws with one: q is what is promised.

    Raises:
        DataError: fewer than 20 texts, or no draw.
    """
    counts: Counter[str] = Counter()

    def draw(draw_seed: int) -> list[str]:
        return _null_events(draw_seed, texts, q, rule or DriverRule())

    for events in replicates(draw, n=draws, seed=seed, progress=progress):
        counts.update(events)
    return NullDraws(draws, counts["discovered"], counts["survived"], counts["beyond"])


def _null_events(seed: int, n: int, q: float, rule: DriverRule) -> list[str]:
    planted = _dictionary(seed)
    texts, rng = planted_texts(planted, n=n, seed=seed), np.random.default_rng([seed, 7])
    rows = texts.activations[:, ::EVERY]
    positive = rng.random(rows.shape[:2]) < rng.beta(1.0, 2.0, (n, 1))
    problem = np.repeat(np.arange(n), rows.shape[1])
    sample = Sample(positive.ravel(), problem, np.ones((problem.size, 1)))
    discovered = Auroc().discover(Codes.of(rows.reshape(-1, rows.shape[-1])), sample)
    passes = bh(discovered.p) <= q
    drivers = [driven.driver for driven in classify(_same_context(planted, n, seed), rule=rule)]
    beyond = np.array([driver in BEYOND_ITS_CUE for driver in drivers])
    candidates = passes & (discovered.sign > 0)
    events = {"discovered": passes.any(), "survived": (candidates & beyond).any(), "beyond": beyond.any()}
    return [name for name, happened in events.items() if happened]


def _dictionary(seed: int) -> PlantedDictionary:
    features = []
    for copy in range(COPIES):
        for kind in EXPECTED:
            twin = {"dormant": f"context {copy}", "absorbed": f"token {copy}"}.get(kind)
            features.append(PlantedFeature(f"{kind} {copy}", kind, twin=twin))  # pyright: ignore[reportArgumentType]
    features.sort(key=lambda feature: feature.twin is not None)
    return PlantedDictionary(tuple(features), seed=seed)


def _same_context(planted: PlantedDictionary, n: int, seed: int) -> CueCells:
    """Cells whose "behaviour" is the neutral text again, with features that fire anew."""
    cells, rng = planted_cells(planted, n=n, seed=seed), np.random.default_rng([seed, 8])
    slot = cells.slot[False]
    neutral = Versions(*(cells.read(behaviour=False, inserted=what) for what in INSERTED))
    again = (embed(planted, cells.texts[False, what].places, rng=rng).activations for what in INSERTED)
    return CueCells(neutral, Versions(*(a[np.arange(n), slot] for a in again)), (slot, slot), np.arange(n))
