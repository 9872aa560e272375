"""What an intervention is made of, checked where it is made: the likeliest slips, with the right code."""

from __future__ import annotations

from torch import Tensor

from reasonmech.arguments import check_type
from reasonmech.interventions.axes.axis import Axis
from reasonmech.interventions.edits.edit import Edit
from reasonmech.interventions.gates.gate import Gate
from reasonmech.interventions.masks.labelled import GIVE_LABELS
from reasonmech.interventions.masks.where import MASK, Where
from reasonmech.site import Site


def check_parts(axis: object, edit: object, where: object, when: object) -> None:
    """Raise ArgumentError unless these are an axis, an edit, a mask and a gate."""
    checked = check_type(
        edit,
        Edit,
        name="edit",
        allowed="an edit, which the verbs make",
        do="rm.ablate, rm.clamp, rm.scale, rm.steer and rm.patch make interventions",
    )
    check_type(
        axis,
        Axis,
        name="axis",
        allowed="an axis: Direction, Features, Subspace, Whole",
        do=f"rm.{checked.kind}({_axis_of(axis)}, ...)",
    )
    check_type(
        where,
        Where,
        name="where",
        allowed=MASK,
        do='where=rm.labelled("mine") for tokens that you find yourself: ' + GIVE_LABELS,
    )
    check_type(
        when,
        Gate,
        name="when",
        allowed="a gate: rm.above(axis, threshold) and its siblings of rm.interventions",
        do='when=rm.above(rm.Direction.along(vector, "resid_post.1"), 0.5)',
    )


def _axis_of(value: object) -> str:
    """The axis that somebody most likely meant."""
    if isinstance(value, Tensor):
        return 'rm.Direction.along(vector, "resid_post.2")'
    if isinstance(value, Site | str):
        return f'rm.Whole("{value}")'
    return "rm.Features(coder, (14, 53))"
