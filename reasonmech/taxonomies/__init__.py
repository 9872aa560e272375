"""Categories of reasoning sentences: published ones by words or by a judge, and ones that a coder learns."""

from reasonmech.taxonomies.sae import (
    Sentences,
    SentenceTaxonomy,
    judge_taxonomy,
    load_taxonomy,
    score_taxonomy,
    train_taxonomies,
)
from reasonmech.taxonomies.text import Category, Taxonomy, taxonomies

__all__ = [
    "Category",
    "Sentences",
    "SentenceTaxonomy",
    "Taxonomy",
    "judge_taxonomy",
    "load_taxonomy",
    "score_taxonomy",
    "taxonomies",
    "train_taxonomies",
]
