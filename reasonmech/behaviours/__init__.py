"""Behaviours: where one happens in a trace, where it could have begun, and whether it did its job.

A task registers those of its world (`tasks/chain/behaviours/`); `SentencesOfKind` is for any text.
"""

from reasonmech.behaviours.agreement import agreement
from reasonmech.behaviours.base import Behaviour, OnsetWords, behaviours, defined, definition_of
from reasonmech.behaviours.columns import TraceColumns
from reasonmech.behaviours.label import label, onset_rate, verified_rate
from reasonmech.behaviours.onset_sets import OnsetSet, OnsetSets, learn_onset_sets
from reasonmech.behaviours.sentences import SentencesOfKind
from reasonmech.labels import Labels, Mode, Opportunity, Span
from reasonmech.rollout import Sentence, Trace

__all__ = [
    "Behaviour",
    "OnsetWords",
    "SentencesOfKind",
    "TraceColumns",
    "agreement",
    "behaviours",
    "defined",
    "definition_of",
    "label",
    "learn_onset_sets",
    "OnsetSet",
    "OnsetSets",
    "onset_rate",
    "verified_rate",
    "Labels",
    "Mode",
    "Opportunity",
    "Sentence",
    "Span",
    "Trace",
]
