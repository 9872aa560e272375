"""Masks: which tokens, named by what they are."""

from reasonmech.interventions.masks.at import At, at
from reasonmech.interventions.masks.labelled import Labelled, labelled
from reasonmech.interventions.masks.precomputed import PrecomputedMask
from reasonmech.interventions.masks.sentence_starts import SentenceStarts, sentence_starts
from reasonmech.interventions.masks.where import Both, Either, Not, Where, masks
from reasonmech.interventions.masks.windows import (
    EVERYWHERE,
    Everywhere,
    Generated,
    InPrompt,
    everywhere,
    generated,
    prompt,
)
from reasonmech.interventions.masks.words import Inside, Tokens, inside, tokens

__all__ = [
    "EVERYWHERE",
    "At",
    "Both",
    "Either",
    "Everywhere",
    "Generated",
    "Inside",
    "Labelled",
    "Not",
    "PrecomputedMask",
    "InPrompt",
    "SentenceStarts",
    "Tokens",
    "Where",
    "at",
    "everywhere",
    "generated",
    "inside",
    "labelled",
    "masks",
    "prompt",
    "sentence_starts",
    "tokens",
]
