"""Provenance: what was run for a piece of evidence, so that it can be run again and written about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from reasonmech.door import checked
from reasonmech.ranges import Positive, Seed


@final
@checked
@dataclass(frozen=True)
class Provenance:
    """What was run.

    Attributes:
        registration: hash of everything that was fixed before (`Registration.hash`).
        task, split, seed: of the problems; the seed is that of the sampling noise, too.
        samples: rollouts per problem at T = 1.
        max_new_tokens: after which a text is cut off.
        fitted_on: problems that the temperature was fitted on.
        base, thinking: fingerprints of the models.
        opened_before: earlier looks at this split of this pair, each in a few words; with any, the judgement
            is exploratory.
        versions: package -> version.
    """

    registration: str
    task: str
    split: str
    seed: Seed
    samples: Positive
    max_new_tokens: Positive
    fitted_on: str
    base: str
    thinking: str
    opened_before: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
