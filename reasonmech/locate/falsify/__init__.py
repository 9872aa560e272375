"""Attempts to refute that a located feature is about its behaviour, and what is left after them."""

from reasonmech.locate.falsify.baselines import Baselines
from reasonmech.locate.falsify.corpus import Corpus
from reasonmech.locate.falsify.counterexamples import Counterexamples, LLMGenerator
from reasonmech.locate.falsify.crossed import Crossed
from reasonmech.locate.falsify.effects import EFFECTS, CrossedEffects, CueCells, Versions, measure_effects
from reasonmech.locate.falsify.finding import Attempt, AttemptFinding, Candidates, Outcome
from reasonmech.locate.falsify.random_init import RandomInit, random_twin
from reasonmech.locate.falsify.residualised import Residualised
from reasonmech.locate.falsify.rule import DRIVERS, Driven, Driver, DriverRule, classify
from reasonmech.locate.falsify.survival import Falsification, falsify
from reasonmech.locate.falsify.swap import TriggerSwap, swap_words
from reasonmech.locate.falsify.texts import (
    CrossedText,
    Example,
    Generator,
    crossed,
    read_cells,
    read_examples,
)

__all__ = [
    "DRIVERS",
    "EFFECTS",
    "LLMGenerator",
    "Attempt",
    "Baselines",
    "Candidates",
    "CueCells",
    "Corpus",
    "Counterexamples",
    "Crossed",
    "CrossedText",
    "Driven",
    "Driver",
    "CrossedEffects",
    "Example",
    "Falsification",
    "AttemptFinding",
    "Generator",
    "Outcome",
    "RandomInit",
    "Residualised",
    "DriverRule",
    "TriggerSwap",
    "Versions",
    "classify",
    "crossed",
    "falsify",
    "measure_effects",
    "random_twin",
    "read_cells",
    "read_examples",
    "swap_words",
]
