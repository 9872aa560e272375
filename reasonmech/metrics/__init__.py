"""Metrics: one number per text from what a model would say next, or per rollout from what it wrote."""

from reasonmech.metrics.accuracy import Accuracy, accuracy
from reasonmech.metrics.agreement_table import agreement_table
from reasonmech.metrics.answer_likelihood import AnswerLikelihood, answer_likelihood
from reasonmech.metrics.base import RolloutMetric, metrics
from reasonmech.metrics.behaviour_rate import BehaviourRate, behaviour_rate
from reasonmech.metrics.config import TextMetric, as_rollout_metric, as_text_metric, metric_from_config
from reasonmech.metrics.logit_diff import LogitDiff, logit_diff
from reasonmech.metrics.next_token_kl import NextTokenKL, next_token_kl
from reasonmech.metrics.onset_log_odds import OnsetLogOdds, onset_log_odds
from reasonmech.metrics.pass_at_k import cover_at_tau, pass_at_k

__all__ = [
    "metrics",
    "metric_from_config",
    "TextMetric",
    "as_text_metric",
    "RolloutMetric",
    "as_rollout_metric",
    "LogitDiff",
    "logit_diff",
    "OnsetLogOdds",
    "onset_log_odds",
    "AnswerLikelihood",
    "answer_likelihood",
    "NextTokenKL",
    "next_token_kl",
    "BehaviourRate",
    "behaviour_rate",
    "Accuracy",
    "accuracy",
    "pass_at_k",
    "cover_at_tau",
    "agreement_table",
]
