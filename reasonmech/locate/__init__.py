"""Locating features: honest detection statistics, baselines, and what a direction means."""

from reasonmech.locate.compare import Comparison, compare_detectors
from reasonmech.locate.directions import direction
from reasonmech.locate.ladder import ladder
from reasonmech.locate.logit_lens import logit_lens
from reasonmech.locate.matched import FeatureStats, Tolerance, feature_stats, matched_features
from reasonmech.locate.preservation import HazardKept, hazard_kept
from reasonmech.locate.rows.context import Context, next_token, onset_probability, previous_kinds
from reasonmech.locate.rows.sample import Sample, Search
from reasonmech.locate.scoring.attribution import Onset, attribute_onset
from reasonmech.locate.scoring.auroc import Auroc, auroc_columns
from reasonmech.locate.scoring.cohen import CohenD
from reasonmech.locate.scoring.hazard import Hazard
from reasonmech.locate.scoring.reason import reason_score, reason_scores
from reasonmech.locate.scoring.scaling import latent_scaling
from reasonmech.locate.scoring.score import Columns, Discovered, Score, scores
from reasonmech.locate.scoring.windows import Windows, word_windows
from reasonmech.locate.search import locate
from reasonmech.locate.table import FeatureTable, select

__all__ = [
    "Auroc",
    "CohenD",
    "Columns",
    "Comparison",
    "Context",
    "Discovered",
    "FeatureStats",
    "FeatureTable",
    "Hazard",
    "HazardKept",
    "Onset",
    "Sample",
    "Score",
    "Search",
    "Tolerance",
    "Windows",
    "attribute_onset",
    "auroc_columns",
    "compare_detectors",
    "direction",
    "feature_stats",
    "hazard_kept",
    "ladder",
    "latent_scaling",
    "locate",
    "logit_lens",
    "matched_features",
    "next_token",
    "onset_probability",
    "previous_kinds",
    "reason_score",
    "reason_scores",
    "scores",
    "select",
    "word_windows",
]
