"""Behaviours: where one happens in a trace, where it could have begun, and whether it did its job. One file
each."""

from reasonmech.behaviours import backtrack as _backtrack  # each registers itself
from reasonmech.behaviours import check as _check
from reasonmech.behaviours import conclude as _conclude
from reasonmech.behaviours import plan as _plan
from reasonmech.behaviours import step as _step
from reasonmech.behaviours import uncertain as _uncertain
from reasonmech.behaviours.agreement import agreement
from reasonmech.behaviours.base import Behaviour, behaviours
from reasonmech.behaviours.columns import TraceColumns
from reasonmech.behaviours.label import label, onset_rate, verified_rate
from reasonmech.labels import Labels, Mode, Opportunity, Span
from reasonmech.rollout import Sentence, Trace

__all__ = [
    "Behaviour",
    "TraceColumns",
    "agreement",
    "behaviours",
    "label",
    "onset_rate",
    "verified_rate",
    "Labels",
    "Mode",
    "Opportunity",
    "Sentence",
    "Span",
    "Trace",
]
del _backtrack, _check, _conclude, _plan, _step, _uncertain
