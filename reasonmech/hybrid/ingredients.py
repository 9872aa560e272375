"""Ingredients: the pair, the vectors and the clamped features that arms are made of."""

from __future__ import annotations

from dataclasses import dataclass

from reasonmech.hosts import ModelPair
from reasonmech.hybrid.executors import ClampFeatures, Vectors
from reasonmech.kinds import Kinds


@dataclass(frozen=True, eq=False)
class Ingredients:
    """What arms are made of.

    Attributes:
        vectors: trained category vectors of the base.
        clamp: clamped features of the base's coder.
        rate: probability per token at which random positions open. Steered tokens of the full arm per token
            that the *base* chooses gives both the same number of steered tokens per problem, whatever the
            length of their texts.
        seed: of the nulls' randomness.
    """

    pair: ModelPair
    kinds: Kinds
    vectors: Vectors
    clamp: ClampFeatures
    rate: float
    seed: int = 0

    def trained_categories(self) -> tuple[int, ...]:
        return tuple(self.vectors.trained.nonzero()[:, 0].tolist())
