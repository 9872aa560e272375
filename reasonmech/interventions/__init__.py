"""Interventions: one formula, five verbs over four axes, masks and gates."""

from reasonmech.interventions.axes import Axis, Direction, Features, Subspace, Whole, axes
from reasonmech.interventions.bind import BoundPlan, bind
from reasonmech.interventions.edits import Edit, edits
from reasonmech.interventions.fwd_hooks import as_hooks
from reasonmech.interventions.gates import (
    Gate,
    TwoPassGate,
    above,
    always,
    below,
    disagree,
    gates,
    ramp,
    uncertain_above,
)
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention, plan_fingerprint
from reasonmech.interventions.masks import (
    Where,
    at,
    everywhere,
    generated,
    inside,
    labelled,
    masks,
    prompt,
    sentence_starts,
    tokens,
)
from reasonmech.interventions.part import PlanPart
from reasonmech.interventions.plan_file import load_plan
from reasonmech.interventions.reading.entry import Entry
from reasonmech.interventions.verbs import ablate, clamp, patch, scale, steer
from reasonmech.step import Step

__all__ = [
    "Axis",
    "Direction",
    "Features",
    "Subspace",
    "Whole",
    "axes",
    "ablate",
    "clamp",
    "scale",
    "steer",
    "patch",
    "Intervention",
    "plan_fingerprint",
    "load_plan",
    "PlanPart",
    "Edit",
    "edits",
    "Where",
    "everywhere",
    "prompt",
    "generated",
    "at",
    "tokens",
    "inside",
    "sentence_starts",
    "labelled",
    "masks",
    "Gate",
    "always",
    "above",
    "below",
    "ramp",
    "disagree",
    "uncertain_above",
    "TwoPassGate",
    "gates",
    "BoundPlan",
    "bind",
    "Hooks",
    "as_hooks",
    "Entry",
    "Step",
]
