"""Planted dictionaries: a residual stream in R^d whose features and readout are known exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.ranges import Seed
from reasonmech.simulators.feature import AMPLITUDES, PlantedFeature, check_features, draw_firing
from reasonmech.simulators.texts import Places, TextModel


@checked
@final
@dataclass(frozen=True)
class PlantedDictionary:
    """A residual stream of planted features, and a readout of it: a linear model whose every part is known.

        residual = offset + sum_f activation_f direction_f + noise
        log-odds of the behaviour = bias + w (residual - offset)

    As in real residual streams the common mean is far larger than what is said, and a few dimensions carry 10
    to 100 times the variance of the others and most of the mean (Kovaleva et al. 2021, arXiv 2105.06990; Sun
    et al. 2024, arXiv 2402.17762). Directions are random and overlap. The readout w is the one of least noise
    with w direction_f = readout_weight_f for every f (generalised least squares): so ablating a feature moves
    the log-odds by exactly -readout_weight_f activation_f, and one of weight 0 by nothing, however it
    correlates.

    Attributes:
        features: what is planted, no more than dimensions.
        d_model: width.
        text: where the features live.
        offset_norm: norm of the common mean, residual-norm units.
        noise: standard deviation of the noise in an ordinary dimension, residual-norm units.
        n_outliers: dimensions of extreme variance.
        bias: log-odds of the behaviour where no feature fires.
        seed: of directions, mean and outliers.

    Raises:
        ArgumentError: features that are no sequence of planted features.
        DataError: more features than dimensions, or a value outside its range.
        DuplicateNameError, UnknownNameError: see `PlantedFeature`.
    """

    features: tuple[PlantedFeature, ...]
    d_model: int = 64
    text: TextModel = field(default_factory=TextModel)
    offset_norm: float = 40.0
    noise: float = 0.3
    n_outliers: int = 3
    bias: float = -4.0
    seed: Seed = 0

    def __post_init__(self) -> None:
        allowed = "a tuple of PlantedFeature"
        check_type(self.features, (tuple, list), name="features", allowed=allowed, do="(feature,)")
        for i, feature in enumerate(self.features):
            check_type(feature, PlantedFeature, name=f"features[{i}]", allowed=allowed)
        check_features(self.features, self.text)
        if not 1 <= len(self.features) <= self.d_model:
            raise DataError(
                f"{len(self.features)} features in {self.d_model} dimensions",
                allowed="1 to d_model features",
                do="raise d_model: beyond it no linear readout can leave a feature out",
            )
        if not (self.noise > 0 and self.offset_norm >= 0 and 0 <= self.n_outliers < self.d_model):
            raise DataError(
                f"noise {self.noise}, offset_norm {self.offset_norm}, {self.n_outliers} outliers",
                allowed="noise > 0, offset_norm >= 0, 0 <= n_outliers < d_model",
            )

    @cached_property
    def directions(self) -> Float[np.ndarray, "feature d_model"]:
        """Unit directions."""
        # The second number names what is drawn: more of one thing changes nothing about another.
        raw = np.random.default_rng([self.seed, 0]).normal(size=(len(self.features), self.d_model))
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    @cached_property
    def outliers(self) -> Int[np.ndarray, " outlier"]:
        """The dimensions of extreme variance."""
        return np.sort(np.random.default_rng([self.seed, 1]).permutation(self.d_model)[: self.n_outliers])

    @cached_property
    def noise_std(self) -> Float[np.ndarray, " d_model"]:
        """Standard deviation of the noise, per dimension."""
        std = np.full(self.d_model, self.noise)
        ratio = 10.0 ** np.random.default_rng([self.seed, 2]).uniform(1.0, 2.0, self.n_outliers)
        std[self.outliers] *= np.sqrt(ratio)
        return std

    @cached_property
    def offset(self) -> Float[np.ndarray, " d_model"]:
        """The common mean."""
        raw = np.random.default_rng([self.seed, 3]).normal(size=self.d_model)
        raw[self.outliers] = 10.0 * np.sign(raw[self.outliers])
        return self.offset_norm * raw / np.linalg.norm(raw)

    @cached_property
    def readout(self) -> Float[np.ndarray, " d_model"]:
        """w = S^-1 D' (D S^-1 D')^-1 r, with directions D, noise covariance S and readout weights r."""
        weights = np.array([feature.readout_weight for feature in self.features])
        scaled = self.directions / self.noise_std**2  # D S^-1; the noise is independent by dimension
        return scaled.T @ np.linalg.solve(scaled @ self.directions.T, weights)

    def log_odds(self, residual: Float[np.ndarray, "*place d_model"]) -> Float[np.ndarray, "*place"]:
        """Log-odds that the behaviour begins, of any residual stream, intervened on or not."""
        return self.bias + (np.asarray(residual, dtype=np.float64) - self.offset) @ self.readout

    @checked
    def index(self, name: str) -> int:
        """Place of a feature.

        Raises:
            UnknownNameError: none has this name.
        """
        names = [feature.name for feature in self.features]
        if name not in names:
            raise UnknownNameError("planted feature", name, names)
        return names.index(name)


@final
@dataclass(frozen=True, eq=False)
class PlantedTexts:
    """Texts with their activations and everything that is true of them.

    Attributes:
        places: token, context, position and disfluency: [text, pos].
        activations: what each feature really is, activation units.
        residual: the stream that a method gets to see (`torch.from_numpy` makes it a tensor).
        log_odds: that the behaviour begins after each token.
        onset: whether it does, a draw from them.
    """

    places: Places
    activations: Float[np.ndarray, "text pos feature"]
    residual: Float[np.ndarray, "text pos d_model"]
    log_odds: Float[np.ndarray, "text pos"]
    onset: Bool[np.ndarray, "text pos"]


@checked
def planted_texts(dictionary: PlantedDictionary, *, n: int, seed: Seed = 0) -> PlantedTexts:
    """n independent texts.

    Raises:
        DataError: n < 1.
    """
    if n < 1:
        raise DataError(f"{n} texts", allowed="n >= 1", do="draw at least one")
    rng = np.random.default_rng([seed, 4])
    return embed(dictionary, dictionary.text.draw(n, rng=rng), rng=rng)


def embed(dictionary: PlantedDictionary, places: Places, *, rng: np.random.Generator) -> PlantedTexts:
    """Let the features fire at given places, [text, pos], and read out the stream, which is float32."""
    on = draw_firing(dictionary.features, places, text=dictionary.text, rng=rng)
    strength = np.array([feature.strength for feature in dictionary.features])
    activations = (on * strength * rng.choice(AMPLITUDES, size=on.shape)).astype(np.float32)
    # float32 from the start, as a model's stream is.
    residual = rng.standard_normal((*on.shape[:-1], dictionary.d_model), dtype=np.float32)
    residual *= dictionary.noise_std.astype(np.float32)
    residual += activations @ dictionary.directions.astype(np.float32)
    residual += dictionary.offset.astype(np.float32)
    log_odds = dictionary.log_odds(residual)
    onset = rng.random(log_odds.shape) < 1.0 / (1.0 + np.exp(-log_odds))
    return PlantedTexts(places, activations, residual, log_odds, onset)


@checked
def one_of_each(*, d_model: int = 64, seed: Seed = 0) -> PlantedDictionary:
    """Every kind of feature once; `context` and `conjunctive` are read, `dormant` follows `context`."""
    features = (
        PlantedFeature("cue 0", "token", cues=(0,), rate=1.0),
        PlantedFeature("any cue", "absorbed", twin="cue 0"),
        PlantedFeature("token", "token"),
        PlantedFeature("context", "context", readout_weight=0.6),
        PlantedFeature("conjunctive", "conjunctive", readout_weight=0.4),
        PlantedFeature("position", "position"),
        PlantedFeature("insertion", "insertion"),
        PlantedFeature("dense", "dense", rate=0.9),
        PlantedFeature("dormant", "dormant", twin="context"),
        PlantedFeature("silent", "silent"),
    )
    return PlantedDictionary(features, d_model=d_model, seed=seed)
