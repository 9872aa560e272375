"""Which arms of a run write one text, and how much of their steering hands over a first word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd

from reasonmech.experiments.stages.arm_tables import REFERENCES, ArmOutcome
from reasonmech.experiments.stages.base import Notes
from reasonmech.hybrid.same_text import (
    AS_GOOD_AS_ONE,
    FirstWords,
    SameText,
    first_words,
    same_texts,
    sentences,
)
from reasonmech.kinds import Kinds

CEILINGS: Final = ("takeover", "thinking")  # their tokens are the thinking model's own


def arm_pairs(outcomes: Mapping[str, ArmOutcome]) -> list[SameText]:
    """Every pair of arms, compared token by token."""
    return same_texts({name: outcome.rollouts for name, outcome in outcomes.items()})


def pair_table(pairs: list[SameText]) -> pd.DataFrame:
    """One pair of arms a row: arm, other, n_problems, n_equal, share, one_text (>= 95 %), sentence."""
    rows = [(p.arm, p.other, p.n, p.equal, p.share, p.is_one, str(p)) for p in pairs]
    columns = ["arm", "other", "n_problems", "n_equal", "share", "one_text", "sentence"]
    return pd.DataFrame(rows, columns=columns)


def steered_first_words(outcomes: Mapping[str, ArmOutcome], kinds: Kinds) -> dict[str, FirstWords]:
    """Arm -> how many of its steered tokens are first words; arms that steer none are left out."""
    counted = {
        name: first_words(outcome.rollouts, kinds)
        for name, outcome in outcomes.items()
        if name not in REFERENCES
    }
    return {name: words for name, words in counted.items() if words.steered}


def first_word_rows(
    outcomes: Mapping[str, ArmOutcome], words: Mapping[str, FirstWords]
) -> list[pd.DataFrame]:
    """Rows of the run's long table: share of steered tokens that are first words of sentences."""
    return [
        outcomes[name].condition.rows("steered_first_words", [of_arm.first / of_arm.steered], unit="share")
        for name, of_arm in words.items()
    ]


def pair_notes(pairs: list[SameText], words: Mapping[str, FirstWords]) -> Notes:
    """Sentences: which arms write one text, and where steering to a category hands over a token.

    Args:
        words: of arms whose controller reads the thinking model.
    """
    notes = Notes()
    for line in sentences(pairs):
        notes.add_remark(line)
    for name, of_arm in words.items():
        if name in CEILINGS:
            continue
        with_ceilings = [{name, ceiling} for ceiling in CEILINGS]
        same = next((p for c in with_ceilings for p in pairs if p.is_one and {p.arm, p.other} == c), None)
        if same is None or of_arm.first < AS_GOOD_AS_ONE * of_arm.steered:
            continue
        other = same.other if same.arm == name else same.arm
        notes.add_remark(
            f"{name} writes what {other} writes on {same.equal} of {same.n} problems; {of_arm}: to steer "
            "there is to hand over the thinking model's token, and its recovery shows nothing that "
            f"{other}'s does not"
        )
    return notes
