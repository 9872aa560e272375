"""Gates: how far each named token is changed, read from activations."""

from reasonmech.interventions.gates.gate import ALWAYS, Always, Gate, Role, always, gates
from reasonmech.interventions.gates.thresholds import Above, Below, Ramp, above, below, ramp
from reasonmech.interventions.gates.two_pass import (
    Disagree,
    TwoPassGate,
    UncertainAbove,
    disagree,
    uncertain_above,
)

__all__ = [
    "ALWAYS",
    "Above",
    "Always",
    "Below",
    "Disagree",
    "Gate",
    "Ramp",
    "Role",
    "TwoPassGate",
    "UncertainAbove",
    "above",
    "always",
    "below",
    "disagree",
    "gates",
    "ramp",
    "uncertain_above",
]
