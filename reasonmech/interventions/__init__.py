"""Interventions: one formula, five verbs over four axes, masks and gates."""

from reasonmech.interventions.axes import Axis, Direction, Features, Whole, axes
from reasonmech.interventions.bind import Bound, bind
from reasonmech.interventions.edits import Edit, edits
from reasonmech.interventions.fwd_hooks import as_hooks
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention, plan_fingerprint
from reasonmech.interventions.subspace import Subspace
from reasonmech.interventions.two_pass import TwoPassGate, disagree, uncertain_above
from reasonmech.interventions.verbs import ablate, clamp, patch, scale, steer
from reasonmech.interventions.when import Gate, above, always, below, gates, ramp
from reasonmech.interventions.where import Where, everywhere, generated, labelled, masks, prompt
from reasonmech.interventions.where_at import at
from reasonmech.interventions.where_text import inside, sentence_starts, tokens

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
    "Bound",
    "bind",
    "Hooks",
    "as_hooks",
]
