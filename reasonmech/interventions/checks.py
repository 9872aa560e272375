"""Checks of what a caller hands to an axis, an edit or a gate: tensors, amounts, thresholds, sites."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor

from reasonmech.arguments import check_type, describe
from reasonmech.errors import ArgumentError, BindError
from reasonmech.interventions.canonical import Amount
from reasonmech.site import Site


def check_finite(what: str, amount: Amount) -> None:
    """Raise BindError unless every number of an amount is finite."""
    finite = bool(torch.isfinite(amount).all()) if isinstance(amount, Tensor) else math.isfinite(amount)
    if not finite:
        shown = describe(amount) if isinstance(amount, Tensor) else amount
        raise BindError(f"{what} is not finite: {shown}", allowed="finite numbers")


def check_tensor(value: object, *, name: str, allowed: str, do: str = "") -> Tensor:
    """A tensor of finite floating-point numbers.

    Raises:
        ArgumentError: something else. BindError: a number of it is not finite.
    """
    tensor = check_type(value, Tensor, name=name, allowed=allowed, do=do)
    if not tensor.is_floating_point():
        raise ArgumentError(
            f"{name} is a tensor of {tensor.dtype}", allowed=f"{allowed}, floating point", do="tensor.float()"
        )
    check_finite(name, tensor)
    return tensor


def check_number(value: object, *, name: str, do: str = "") -> None:
    """A finite number, and no truth value.

    Raises:
        ArgumentError: something else. BindError: it is not finite.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentError(f"{name} is {describe(value)}", allowed="a finite number", do=do)
    check_finite(name, float(value))


def check_number_or_tensor(value: object, *, name: str) -> None:
    """A finite number, or a tensor of finite numbers.

    Raises:
        ArgumentError: something else. BindError: it is not finite.
    """
    if isinstance(value, Tensor):
        check_finite(name, value)
    elif isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentError(
            f"{name} is {describe(value)}",
            allowed="a number, or a tensor with one number per coordinate",
            do="torch.tensor([...]) makes a tensor of a list",
        )
    else:
        check_finite(name, float(value))


def check_site(value: object) -> Site:
    """A site, or the name of one.

    Raises:
        ArgumentError: something else. UnknownNameError: a string that names none.
    """
    named = check_type(value, (Site, str), name="site", allowed='a Site, or its name: "resid_post.2"')
    return Site.parse(named)
