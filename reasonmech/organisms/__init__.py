"""Small base/thinking pairs built from scratch, whose truth is known: corpus, training, splicing, measured truth."""

from reasonmech.organisms.building import build
from reasonmech.organisms.recipes import PairRecipe, recipes
from reasonmech.organisms.splice import SplicedDecoder
from reasonmech.organisms.truth import measure_truth

__all__ = ["PairRecipe", "SplicedDecoder", "build", "measure_truth", "recipes"]
