"""The five verbs: ablate, clamp, scale, steer, patch."""

from __future__ import annotations

from torch import Tensor

from reasonmech.door import checked
from reasonmech.interventions.axes import Axis
from reasonmech.interventions.canonical import Amount
from reasonmech.interventions.edits import Ablate, Clamp, Patch, Scale, Steer
from reasonmech.interventions.gates import ALWAYS, Gate
from reasonmech.interventions.intervention import ErrorTerm, Intervention
from reasonmech.interventions.masks import EVERYWHERE, Where
from reasonmech.ranges import Count


@checked
def ablate(
    axis: Axis,
    *,
    value: Amount | None = None,
    where: Where = EVERYWHERE,
    when: Gate = ALWAYS,
    error: ErrorTerm = "keep",
    require_gated: Count = 0,
) -> Intervention:
    """c <- 0, or `value` (a mean): features knocked out, a projection or the whole stream removed.

    Args:
        value: what to put in place of 0, in the axis' own units: a number, or one per coordinate.
        where, when: tokens, and the weight at each.
        error: "keep" the coder's reconstruction error, or "drop" it (Features only).
        require_gated: tokens at which its gate must be open in a run.

    Raises:
        ArgumentError: an axis, amount, mask or gate of the wrong type.
        BindError: the value does not fit the axis.
    """
    return Intervention(axis, Ablate(value), where=where, when=when, error=error, require_gated=require_gated)


@checked
def clamp(
    axis: Axis,
    value: Amount,
    *,
    where: Where = EVERYWHERE,
    when: Gate = ALWAYS,
    error: ErrorTerm = "keep",
    require_gated: Count = 0,
) -> Intervention:
    """c <- v: a fixed decoded contribution in activation units (Features), or a fixed coordinate (Direction).

    What is fixed is the contribution that is written. Re-encoding need not return v: the receipt prints what
    it does.

    Raises:
        ArgumentError: an axis, amount, mask or gate of the wrong type.
        BindError: on the whole stream, or a value that does not fit the axis.
    """
    return Intervention(axis, Clamp(value), where=where, when=when, error=error, require_gated=require_gated)


@checked
def scale(
    axis: Axis,
    factor: Amount,
    *,
    where: Where = EVERYWHERE,
    when: Gate = ALWAYS,
    error: ErrorTerm = "keep",
    require_gated: Count = 0,
) -> Intervention:
    """c <- a * c: dampen or amplify. A factor of 1 is a bit-exact identity.

    Raises:
        ArgumentError: an axis, amount, mask or gate of the wrong type.
        BindError: on the whole stream, or a factor that does not fit the axis.
    """
    return Intervention(axis, Scale(factor), where=where, when=when, error=error, require_gated=require_gated)


@checked
def steer(
    axis: Axis,
    amount: Amount,
    *,
    where: Where = EVERYWHERE,
    when: Gate = ALWAYS,
    error: ErrorTerm = "keep",
    require_gated: Count = 0,
) -> Intervention:
    """c <- c + a: activation units (features), residual-norm units (a direction), a vector (a stream).

    Activation addition (Turner et al. 2023, eq. 1) at tokens that a mask names. An amount of 0 is a bit-exact
    identity.

    Raises:
        ArgumentError: an axis, amount, mask or gate of the wrong type.
        BindError: an amount that does not fit the axis.
    """
    return Intervention(axis, Steer(amount), where=where, when=when, error=error, require_gated=require_gated)


@checked
def patch(
    axis: Axis,
    source: Tensor,
    *,
    where: Where = EVERYWHERE,
    when: Gate = ALWAYS,
    error: ErrorTerm = "keep",
    require_gated: Count = 0,
) -> Intervention:
    """c <- c(source): activation patching, of the stream, of features, or of a subspace.

    Args:
        source: the stream of another run at the axis' site: [d_model], [pos, d_model] or [row, pos, d_model],
            by absolute, pad-free position and by row of the run.

    Raises:
        ArgumentError: an axis, amount, mask or gate of the wrong type.
        BindError: the source has another shape, or is not finite.
    """
    return Intervention(axis, Patch(source), where=where, when=when, error=error, require_gated=require_gated)
