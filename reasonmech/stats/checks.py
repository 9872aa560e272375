"""What every statistic checks of its columns: that they are numbers, or labels, of one length, and finite."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from reasonmech.arguments import describe
from reasonmech.errors import ArgumentError, DataError, NonFiniteError

_NUMBERS = "numbers: an array, a list, a column of a table"


def as_numbers(values: ArrayLike, *, name: str) -> np.ndarray:
    """Values as float64, NaN and infinities included; see `check_finite`.

    Args:
        name: of the parameter, as the caller knows it ("scores").

    Raises:
        ArgumentError: a text, a single number, or something that is no array of numbers.
    """
    array = _as_array(values, name=name, allowed=_NUMBERS)
    if array.dtype.kind == "O" and not any(isinstance(value, str) for value in array.flat):
        try:  # numbers in a column of objects, as pandas makes of columns with None in them
            return array.astype(np.float64)
        except (TypeError, ValueError):
            pass
    if array.dtype.kind not in "biuf" and array.size:  # an empty list has no type of its own
        raise ArgumentError(f"{name} are {_describe_first(array)}", allowed=_NUMBERS)
    return array.astype(np.float64, copy=False)


def as_labels(values: ArrayLike, *, name: str) -> np.ndarray:
    """Values as booleans.

    Raises:
        ArgumentError: something other than True and False, or 1 and 0 (the text "no" would count as yes).
    """
    allowed = "True or False (or 1 and 0) for every row"
    array = _as_array(values, name=name, allowed=allowed)
    if array.dtype.kind == "b":
        return array
    if array.size and (array.dtype.kind not in "iufO" or not np.isin(array, (0, 1)).all()):
        raise ArgumentError(f"{name} are {_describe_first(array)}", allowed=allowed, do="compare: values > 0")
    return array.astype(bool)


def as_ids(values: ArrayLike, *, name: str) -> np.ndarray:
    """Ids, such as problem ids, one per row.

    Raises:
        ArgumentError: a single one, or more than one axis.
    """
    array = _as_array(values, name=name, allowed="one id per row")
    if array.ndim != 1:
        raise ArgumentError(f"{name} have the shape {array.shape}", allowed="one id per row: one axis")
    return array


def check_lengths(**columns: np.ndarray | None) -> None:
    """Refuse columns of different shapes; None is a column that is not there.

    Raises:
        DataError: names and shapes of all of them.
    """
    shapes = {name: column.shape for name, column in columns.items() if column is not None}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise DataError(f"columns of different shapes: {listed}", allowed="one value of each per row")


def check_finite(values: np.ndarray, *, name: str) -> None:
    """Refuse NaN and infinities.

    Raises:
        NonFiniteError: how many of how many.
    """
    if n_bad := int((~np.isfinite(values)).sum()):
        raise NonFiniteError(
            f"{n_bad} of {values.size} {name} are not finite",
            do="score a skipped or truncated problem as wrong instead of leaving it out",
        )


def check_level(level: float) -> None:
    """Refuse a level of confidence outside (0, 1).

    Raises:
        DataError: the level and its range.
    """
    if not 0.0 < level < 1.0:
        raise DataError(f"level {level}", allowed="0 < level < 1", do="give a share: 0.95, not 95")


def _as_array(values: ArrayLike, *, name: str, allowed: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:  # a ragged list; a tensor on a GPU, or one with a gradient
        raise ArgumentError(
            f"{name} is {describe(values)}, which is no array: {error}",
            allowed=allowed,
            do="of a tensor, pass tensor.detach().cpu()",
        ) from error
    if array.ndim == 0:
        raise ArgumentError(f"{name} is {describe(values)}", allowed=allowed)
    return array


def _describe_first(array: np.ndarray) -> str:
    first = array.ravel()[:1].tolist()[0]  # a Python value, whatever numpy made of it
    return f"an array of {array.dtype} that begins with {describe(first)}"
