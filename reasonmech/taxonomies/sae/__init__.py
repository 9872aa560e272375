"""Taxonomies that a sparse coder learns from sentence means, scored and judged."""

from reasonmech.taxonomies.sae.judge import judge_taxonomy
from reasonmech.taxonomies.sae.scores import score_taxonomy
from reasonmech.taxonomies.sae.sentences import Sentences
from reasonmech.taxonomies.sae.taxonomy import SentenceTaxonomy, load_taxonomy, train_taxonomies

__all__ = [
    "Sentences",
    "SentenceTaxonomy",
    "judge_taxonomy",
    "load_taxonomy",
    "score_taxonomy",
    "train_taxonomies",
]
