"""Reading: an axis, an edit, a mask or a gate from its mapping in a plan file."""

from reasonmech.interventions.reading.entry import Entry
from reasonmech.interventions.reading.spot import PlanContext, Spot
from reasonmech.interventions.reading.tensors import load_tensor

__all__ = ["Entry", "PlanContext", "Spot", "load_tensor"]
