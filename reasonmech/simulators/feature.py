"""Planted features: what makes one fire, how often, and whether anybody reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, final, get_args

import numpy as np
from jaxtyping import Bool, Float

from reasonmech.door import checked
from reasonmech.errors import DataError, DuplicateNameError, UnknownNameError
from reasonmech.simulators.policy import check_probabilities
from reasonmech.simulators.texts import Places, TextModel

FeatureKind = Literal[
    "token",
    "context",
    "conjunctive",
    "either",
    "position",
    "insertion",
    "dense",
    "dormant",
    "absorbed",
    "silent",
]
AMPLITUDES: Final = (0.5, 1.0, 1.5)
"""Multiples of the strength with which a feature fires, equally likely; their mean is 1."""


@checked
@final
@dataclass(frozen=True)
class PlantedFeature:
    """One direction and the rule by which it is active.

    Kinds, by their trigger: `token` one of `cues`; `context` the behaviour's context; `conjunctive` both at
    once; `either` one of the two, or both; `position` the part of the text from `start` on; `insertion` a
    token out of place; `dense` anything; `dormant` that its twin fires, and nobody reads it; `absorbed` one
    of `cues`, unless its twin fires, which then stands for it; `silent` nothing.

    Attributes:
        strength: mean activation when it fires, activation units.
        rate: P(fires | trigger).
        leak: P(fires | no trigger).
        readout_weight: log-odds of the behaviour per activation unit, in the readout; 0: nobody reads it.
        cues: token ids of `token`, `conjunctive`, `either` and `absorbed`; empty: every cue of the text
            model.
        twin: name of a feature before it in the dictionary (`dormant`, `absorbed`).
        start: where a `position` feature begins, as a share of the text.

    Raises:
        DataError: a value outside its range, a twin missing or superfluous, a dormant feature that is read.
    """

    name: str
    kind: FeatureKind
    strength: float = 4.0
    rate: float = 0.95
    leak: float = 0.02
    readout_weight: float = 0.0
    cues: tuple[int, ...] = ()
    twin: str | None = None
    start: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in get_args(FeatureKind):
            raise UnknownNameError("kind of planted feature", self.kind, get_args(FeatureKind))
        check_probabilities(self, rate=self.rate, leak=self.leak, start=self.start)
        if (self.kind in ("dormant", "absorbed")) != (self.twin is not None):
            raise DataError(
                f"feature {self.name!r} of kind {self.kind} with twin {self.twin!r}",
                allowed="a twin for dormant and absorbed features, none for others",
                do="name the feature that it follows, or leave the twin out",
            )
        if self.kind == "dormant" and self.readout_weight:
            raise DataError(
                f"dormant feature {self.name!r} is read (readout_weight {self.readout_weight})",
                allowed="readout_weight=0",
                do="make it a feature of another kind: dormant is what nobody reads",
            )
        if not self.strength > 0:
            raise DataError(
                f"feature {self.name!r} of strength {self.strength}", allowed="> 0", do="see kind='silent'"
            )


def check_features(features: Sequence[PlantedFeature], text: TextModel) -> None:
    """Refuse features that do not fit each other or the text.

    Raises:
        DuplicateNameError: two of one name.
        UnknownNameError: a twin that does not come before.
        DataError: a cue that the text model lacks.
    """
    names: list[str] = []
    for feature in features:
        if feature.name in names:
            raise DuplicateNameError(f"two planted features are named {feature.name!r}", do="rename one")
        if feature.twin is not None and feature.twin not in names:
            raise UnknownNameError(
                "twin", feature.twin, names, do="put the twin before the feature that follows it"
            )
        if any(not 0 <= cue < text.n_cues for cue in feature.cues):
            raise DataError(
                f"feature {feature.name!r} has the cues {feature.cues}",
                allowed=f"0 to {text.n_cues - 1}",
                do="name ids of cues, or give the text model more of them",
            )
        names.append(feature.name)


def firing_probability(
    features: Sequence[PlantedFeature], places: Places, text: TextModel
) -> Float[np.ndarray, "*place feature"]:
    """P(each feature fires | place), twins averaged over."""
    return _firing_by_feature(features, places, text, None)


def draw_firing(
    features: Sequence[PlantedFeature], places: Places, *, text: TextModel, rng: np.random.Generator
) -> Bool[np.ndarray, "*place feature"]:
    """Which features fire at each place: a draw in which a twin's firing is what its follower follows."""
    return _firing_by_feature(features, places, text, rng).astype(bool)


def _firing_by_feature(
    features: Sequence[PlantedFeature], places: Places, text: TextModel, rng: np.random.Generator | None
) -> Float[np.ndarray, "*place feature"]:
    """Feature by feature, its probability given its twin's column; with an rng a draw from it."""
    shape = np.broadcast_shapes(*(np.shape(array) for array in places))
    # Twins come first (`check_features`), so a follower sees its twin's very draw, or its probability: as the
    # follower's probability is linear in the twin's firing, both are exact.
    columns: dict[str, np.ndarray] = {}
    for feature in features:
        twin = columns[feature.twin] if feature.twin is not None else np.zeros(())
        p = np.broadcast_to(_probability(feature, places, twin, text), shape)
        columns[feature.name] = p if rng is None else (rng.random(shape) < p).astype(float)
    return np.stack(list(columns.values()), axis=-1)


def _probability(feature: PlantedFeature, places: Places, twin: np.ndarray, text: TextModel) -> np.ndarray:
    if feature.kind == "silent":
        return np.zeros(())
    if feature.kind == "dormant":
        return feature.leak + (feature.rate - feature.leak) * twin
    p = np.where(_triggered(feature, places, text), feature.rate, feature.leak)
    return p * (1.0 - twin) if feature.kind == "absorbed" else p


def _triggered(feature: PlantedFeature, places: Places, text: TextModel) -> np.ndarray:
    cue = np.isin(places.token, feature.cues or np.arange(text.n_cues))
    return {
        "token": cue,
        "absorbed": cue,
        "context": places.context,
        "conjunctive": cue & places.context,
        "either": cue | places.context,
        "position": places.position >= feature.start * text.length,
        "insertion": places.disfluent,
        "dense": np.ones((), dtype=bool),
    }[feature.kind]
