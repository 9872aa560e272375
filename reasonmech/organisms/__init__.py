"""Small base/thinking pairs built from scratch, whose truth is known: corpus, training, splicing, measured
truth."""

from reasonmech.hosts import (  # which find an organism that does not ship once this is imported
    is_here,
    load_host,
    load_pair,
)
from reasonmech.organisms import smol as _smol  # registers its store
from reasonmech.organisms import zoo as _zoo  # each organism registers itself
from reasonmech.organisms.adapters import reinforce_adapter, tune_adapter, with_adapter
from reasonmech.organisms.building import build
from reasonmech.organisms.cache import build_in_cache
from reasonmech.organisms.ground_truth.chain_examples import ChainExamples
from reasonmech.organisms.ground_truth.dial import Dial
from reasonmech.organisms.ground_truth.dial_table import dial_table
from reasonmech.organisms.ground_truth.splice import SplicedDecoder, splice
from reasonmech.organisms.ground_truth.truth import Effort, measure_truth
from reasonmech.organisms.recipes import PairRecipe, recipes

del _smol, _zoo

__all__ = [
    "ChainExamples",
    "Dial",
    "Effort",
    "PairRecipe",
    "SplicedDecoder",
    "build",
    "build_in_cache",
    "dial_table",
    "is_here",
    "load_host",
    "load_pair",
    "measure_truth",
    "recipes",
    "reinforce_adapter",
    "splice",
    "tune_adapter",
    "with_adapter",
]
