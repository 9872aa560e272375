"""Axes: features of a coder, a direction, a subspace, the whole stream."""

from reasonmech.interventions.axes.axis import Axis, axes
from reasonmech.interventions.axes.direction import Direction
from reasonmech.interventions.axes.features import Features
from reasonmech.interventions.axes.subspace import Subspace
from reasonmech.interventions.axes.whole import Whole

__all__ = ["Axis", "Direction", "Features", "Subspace", "Whole", "axes"]
