"""Measuring: from a pair of models to `Evidence`, every run kept as it ends."""

from reasonmech.claims.measuring.extent import Extent
from reasonmech.claims.measuring.measure import measure_evidence
from reasonmech.claims.measuring.questions import Questions

__all__ = ["Extent", "Questions", "measure_evidence"]
