"""Statistics of a pair: what both models make of texts that either wrote, each beside its control.

To add one, write a module here (see `divergence.py`): a frozen dataclass whose fields are its settings and
whose `measure(pair, rollouts)` returns rows, registered under its kind; import it below. A run's stage
`pairwise` and `measure_pair` then find it by its kind.
"""

from reasonmech.pairwise.base import (
    COLUMNS,
    ComparedModels,
    PairMeasure,
    PairRollouts,
    measure_from_config,
    measure_pair,
    measures,
)
from reasonmech.pairwise.divergence import Divergence, divergence
from reasonmech.pairwise.log_probs import chosen_log_probs, host_log_probs
from reasonmech.pairwise.traces import Traces, locate_surprise, traces

__all__ = [
    "COLUMNS",
    "ComparedModels",
    "Divergence",
    "PairMeasure",
    "PairRollouts",
    "Traces",
    "chosen_log_probs",
    "divergence",
    "host_log_probs",
    "locate_surprise",
    "traces",
    "measure_from_config",
    "measure_pair",
    "measures",
]
