"""Locating features: honest detection statistics, baselines, and what a direction means."""

from reasonmech.locate.compare import Comparison, compare_detectors
from reasonmech.locate.directions import ContrastivePrompts, direction
from reasonmech.locate.ladder import ladder
from reasonmech.locate.logit_lens import logit_lens
from reasonmech.locate.matched import FeatureStats, Tolerance, feature_stats, matched_features
from reasonmech.locate.onset_estimates import OnsetEstimates, OnsetSampling, onset_estimates
from reasonmech.locate.p_values import Discovered
from reasonmech.locate.preservation import BehaviourPreservation, behaviour_preservation
from reasonmech.locate.rows.context import Context, next_token, onset_probability, previous_kinds
from reasonmech.locate.rows.sample import Sample, Search
from reasonmech.locate.scoring.attribution import Onset, OnsetAttribution
from reasonmech.locate.scoring.auroc import Auroc, auroc_columns
from reasonmech.locate.scoring.cohen import CohenD
from reasonmech.locate.scoring.detection import Columns, DetectionScore
from reasonmech.locate.scoring.hazard import Hazard
from reasonmech.locate.scoring.reason import ReasonScore
from reasonmech.locate.scoring.scaling import LatentScaling
from reasonmech.locate.scoring.score import Measured, Need, Score, SearchData, scores
from reasonmech.locate.search import locate
from reasonmech.locate.table import FeatureTable, select

__all__ = [
    "Auroc",
    "CohenD",
    "Columns",
    "Comparison",
    "Context",
    "ContrastivePrompts",
    "DetectionScore",
    "Discovered",
    "FeatureStats",
    "FeatureTable",
    "Hazard",
    "BehaviourPreservation",
    "LatentScaling",
    "Measured",
    "Need",
    "Onset",
    "OnsetAttribution",
    "OnsetEstimates",
    "OnsetSampling",
    "ReasonScore",
    "Sample",
    "Score",
    "Search",
    "SearchData",
    "Tolerance",
    "auroc_columns",
    "compare_detectors",
    "direction",
    "feature_stats",
    "behaviour_preservation",
    "ladder",
    "locate",
    "logit_lens",
    "matched_features",
    "next_token",
    "onset_estimates",
    "onset_probability",
    "previous_kinds",
    "scores",
    "select",
]
