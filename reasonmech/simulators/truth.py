"""What is true of planted features, by enumeration of every place a token can be in."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from reasonmech.door import checked
from reasonmech.simulators.cells import slot_probability
from reasonmech.simulators.feature import firing_probability
from reasonmech.simulators.planted import PlantedDictionary

Answer = Literal[
    "token-driven",
    "context-driven",
    "conjunctive",
    "insertion-artefact",
    "position-driven",
    "mixed",
    "no signal",
]
_ROUNDING = 1e-9  # of the strength: cells that are equal are so but for the order of summation


class FeatureTruth(NamedTuple):
    """What a correct instrument finds about one feature.

    Attributes:
        rate: share of tokens at which it fires.
        mean: mean activation over all tokens, activation units.
        auroc_context, auroc_cue: P(it is higher where the context is on, or the token a cue, than elsewhere).
        answer: what drives it, from the position-matched cells.
        effect: mean change of the behaviour's log-odds when it is ablated.
        necessary: whether the readout uses it at all.
    """

    name: str
    kind: str
    rate: float
    mean: float
    auroc_context: float
    auroc_cue: float
    answer: Answer
    effect: float
    necessary: bool


class CellTruth(NamedTuple):
    """Mean activation at the slot in every cell, activation units; contexts are neutral, behaviour."""

    absent: Float[np.ndarray, "context feature"]
    cue: Float[np.ndarray, "context feature"]
    placebo: Float[np.ndarray, "context feature"]

    @property
    def token_effect(self) -> Float[np.ndarray, " feature"]:
        """Main effect of the cue: 1/2 [(neutral cue - neutral) + (behaviour cue - behaviour)]."""
        return (self.cue - self.absent).mean(axis=0)

    @property
    def context_effect(self) -> Float[np.ndarray, " feature"]:
        """Main effect of the context: 1/2 [(behaviour - neutral) + (behaviour cue - neutral cue)]."""
        return ((self.absent[1] - self.absent[0]) + (self.cue[1] - self.cue[0])) / 2

    @property
    def interaction(self) -> Float[np.ndarray, " feature"]:
        """(behaviour cue - behaviour) - (neutral cue - neutral)."""
        return (self.cue[1] - self.absent[1]) - (self.cue[0] - self.absent[0])

    @property
    def placebo_effect(self) -> Float[np.ndarray, " feature"]:
        """Of any token: 1/2 [(neutral placebo - neutral) + (behaviour placebo - behaviour)]."""
        return (self.placebo - self.absent).mean(axis=0)


@checked
def cell_truth(dictionary: PlantedDictionary, *, position_matched: bool = True) -> CellTruth:
    """Exact cell means of `planted_cells`."""
    mean, text = _mean_by_place(dictionary), dictionary.text
    slot = np.stack(
        [slot_probability(text, behaviour=b, position_matched=position_matched) for b in (False, True)]
    )
    fillers, cues = text.fillers, np.full(text.n_cues, 1.0 / text.n_cues)

    def cell(tokens: np.ndarray, weight: np.ndarray, disfluent: int) -> np.ndarray:
        return np.einsum("cp,pctf,t->cf", slot, tokens[:, :, :, disfluent], weight)

    return CellTruth(
        cell(mean[:, :, text.n_cues :], fillers, 0),
        cell(mean[:, :, : text.n_cues], cues, 1),
        cell(mean[:, :, text.n_cues :], fillers, 1),
    )


def planted_truth(dictionary: PlantedDictionary) -> tuple[FeatureTruth, ...]:
    """One row per feature (`pandas.DataFrame(rows)` makes a table of them)."""
    text, p = dictionary.text, dictionary.text.probability()[..., None]
    fire, mean = firing_probability(dictionary.features, text.every_place(), text), _mean_by_place(dictionary)
    rate, average = (fire * p).sum(axis=(0, 1, 2, 3)), (mean * p).sum(axis=(0, 1, 2, 3))
    context = _auroc(fire, p, positive=text.every_place().context[..., None])
    cue = _auroc(fire, p, positive=(text.every_place().token < text.n_cues)[..., None])
    answers = _classify(dictionary, mean)
    return tuple(
        FeatureTruth(
            feature.name,
            feature.kind,
            float(rate[f]),
            float(average[f]),
            float(context[f]),
            float(cue[f]),
            answers[f],
            float(0.0 - feature.readout_weight * average[f]),  # 0.0 - x: an effect of zero is not -0.0
            feature.readout_weight != 0.0 and bool(average[f] > 0.0),
        )
        for f, feature in enumerate(dictionary.features)
    )


def _mean_by_place(dictionary: PlantedDictionary) -> Float[np.ndarray, "pos context token disfluent feature"]:
    text = dictionary.text
    strength = np.array([feature.strength for feature in dictionary.features])
    return firing_probability(dictionary.features, text.every_place(), text) * strength


def _auroc(fire: np.ndarray, p: np.ndarray, *, positive: np.ndarray) -> Float[np.ndarray, " feature"]:
    """1/2 + 1/2 (P(fires | positive) - P(fires | negative)): amplitudes are alike in both, so they cancel."""
    shares = [
        (fire * p * label).sum(axis=(0, 1, 2, 3)) / (p * label).sum(axis=(0, 1, 2, 3))
        for label in (positive, ~positive)
    ]
    return 0.5 + 0.5 * (shares[0] - shares[1])


def _classify(dictionary: PlantedDictionary, mean: np.ndarray) -> list[Answer]:
    cells = cell_truth(dictionary)
    strength = np.array([feature.strength for feature in dictionary.features])

    def differs(difference: np.ndarray) -> np.ndarray:
        return np.abs(difference) > _ROUNDING * strength

    cue, placebo = differs(cells.cue - cells.absent), differs(cells.placebo - cells.absent)
    beyond, context = differs(cells.cue - cells.placebo), differs(cells.absent[1] - cells.absent[0])
    interaction, place = differs(cells.interaction), differs(mean.max(axis=0) - mean.min(axis=0))
    return [
        _classify_one(
            _Movers(
                tuple(cue[:, f].tolist()),
                bool(placebo[:, f].any()),
                bool(beyond[:, f].any()),
                bool(context[f]),
                bool(interaction[f]),
                bool(place[..., f].any()),
            )
        )
        for f in range(len(strength))
    ]


class _Movers(NamedTuple):
    """What moves a feature.

    Attributes:
        cue: whether a cue does, in neutral and in behaviour texts.
        placebo: whether any inserted token does.
        beyond: whether a cue moves it further than a placebo.
        context: whether the context does, without a cue.
        interaction: whether a cue does more in one context than in the other.
        place: whether it depends on anything at all.
    """

    cue: tuple[bool, ...]
    placebo: bool
    beyond: bool
    context: bool
    interaction: bool
    place: bool


def _classify_one(moved: _Movers) -> Answer:
    if moved.placebo:
        return "mixed" if moved.beyond or moved.context else "insertion-artefact"
    if moved.interaction:
        return "mixed" if moved.context or moved.cue[0] else "conjunctive"
    if moved.context:
        return "mixed" if moved.cue[0] else "context-driven"
    if any(moved.cue):
        return "token-driven"
    return "position-driven" if moved.place else "no signal"
