"""Random directions in the place of category vectors, as long or as strong as these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import DataError
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.hybrid import Kinds, NeutralTexts, Vectors
from reasonmech.hybrid.disagreements import clean_passes, find_disagreements
from reasonmech.hybrid.matching import Matched, Scaling, vectors_of_strength
from reasonmech.rollout import Rollout
from reasonmech.runtime import as_read_by

NEUTRAL = 12  # positions at which a strength is measured
MOMENTS = 40  # fitting rollouts of the thinking model, at whose disagreements it is measured


class NullTables(NamedTuple):
    """Vectors of every draw at dose 1, and what of them could not be made as strong as it should be."""

    tables: Float[Tensor, "draw category d_model"]
    shortfall: str = ""


def norm_matched(vectors: Vectors, n: int, seed: int) -> NullTables:
    """Directions with the norms of the trained vectors."""
    noise = _noise(vectors, n, seed)
    return NullTables(noise / noise.norm(dim=-1, keepdim=True) * _table(vectors).norm(dim=-1)[:, None])


def kl_matched(context: StageContext, vectors: Vectors, n: int) -> NullTables:
    """Directions with the trained vectors' KL on neutral text."""
    written = read_rollouts(context, "thinking")
    texts = NeutralTexts.draw(context.pair.base, written, n=NEUTRAL, seed=context.seed)
    return _matched(vectors, [texts] * len(_categories(vectors)), n, context.seed)


def kl_matched_where_steered(context: StageContext, vectors: Vectors, kinds: Kinds, n: int) -> NullTables:
    """Directions with the KL that each trained vector has where it is used: where the two models disagree and
    the thinking model's token is of its category, on fitting rollouts."""
    texts = moments_of_steering(context, vectors, kinds)
    return _matched(vectors, [texts[category] for category in _categories(vectors)], n, context.seed)


def moments_of_steering(context: StageContext, vectors: Vectors, kinds: Kinds) -> dict[int, NeutralTexts]:
    """Category -> positions of fitting rollouts at which a hybrid would steer towards it."""
    base = context.pair.base
    texts: Sequence[Rollout] = as_read_by(base, read_rollouts(context, "thinking")[:MOMENTS])
    apart = find_disagreements(clean_passes(base, texts), texts, kinds)
    chosen: dict[int, NeutralTexts] = {}
    for category in _categories(vectors):
        rows = (apart.category == category).nonzero()[:, 0].tolist()
        step = max(1, len(rows) // NEUTRAL)
        places = [(int(apart.rollout[i]), int(apart.position[i])) for i in rows[::step][:NEUTRAL]]
        if not places:
            raise DataError(
                f"no place in {len(texts)} fitting rollouts where the base would be steered towards "
                f"{kinds.names[category]!r}",
                do="use more fitting problems, or leave `vectors_kl_steered` out",
            )
        chosen[category] = NeutralTexts.at(base, texts, places)
    return chosen


def _matched(vectors: Vectors, texts: Sequence[NeutralTexts], n: int, seed: int) -> NullTables:
    """Directions as strong as the vectors, each category's at its own texts."""
    table, noise = _table(vectors), _noise(vectors, n, seed)
    tables, matches = torch.zeros_like(noise), []
    for category, at in zip(_categories(vectors), texts, strict=True):
        one, all_draws = (Scaling.of(vectors, torch.full((k,), category)) for k in (1, n))
        target = at.kl_of_vectors(table[category, None], vectors.site, one).expand(n)
        first = table[category].norm().expand(n)
        tables[:, category], matched = vectors_of_strength(
            noise[:, category], target, first, vectors.site, at, all_draws
        )
        matches.append(matched)
    joined = Matched(*(torch.cat(columns) for columns in zip(*matches, strict=True)))
    return NullTables(tables, joined.describe_shortfall())


def _noise(vectors: Vectors, n: int, seed: int) -> Float[Tensor, "draw category d_model"]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *vectors.table.shape, generator=generator)


def _table(vectors: Vectors) -> Float[Tensor, "category d_model"]:
    return vectors.table.float().cpu()


def _categories(vectors: Vectors) -> list[int]:
    return vectors.trained.nonzero()[:, 0].tolist()
