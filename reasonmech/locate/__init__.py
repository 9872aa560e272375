"""Locating features: honest detection statistics, baselines, and what a direction means."""

from reasonmech.locate.auroc import Auroc, auroc_columns
from reasonmech.locate.context import Context, next_token, onset_probability, previous_kinds
from reasonmech.locate.hazard import Hazard
from reasonmech.locate.lens import logit_lens
from reasonmech.locate.matched import FeatureStats, Tolerance, feature_stats, matched_features
from reasonmech.locate.sample import Sample, Search
from reasonmech.locate.score import Columns, Discovered, Score, scores
from reasonmech.locate.search import locate
from reasonmech.locate.table import FeatureTable, select
from reasonmech.locate.vectors import direction

__all__ = [
    "Auroc",
    "Columns",
    "Context",
    "Discovered",
    "FeatureStats",
    "FeatureTable",
    "Hazard",
    "Sample",
    "Score",
    "Search",
    "Tolerance",
    "auroc_columns",
    "direction",
    "feature_stats",
    "locate",
    "logit_lens",
    "matched_features",
    "next_token",
    "onset_probability",
    "previous_kinds",
    "scores",
    "select",
]
