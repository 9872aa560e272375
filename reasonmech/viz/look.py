"""Look: a text's tokens coloured by what features, or a direction, read there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from reasonmech.errors import DataError
from reasonmech.interventions import Direction, Features
from reasonmech.locate.feature_summary.tokens import token_pieces
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.capture import capture
from reasonmech.viz.view import TokenView

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.hosts import Host


def look(
    host: Host,
    text: str | Rollout,
    axis: SparseCoder | Features | Direction,
    features: Sequence[int] | Features | None = None,
) -> TokenView:
    """Show where features of a coder, or a direction, are active in a text.

    >>> look(host, "wait , redo :", coder, [1453, 8021])
    >>> look(host, rollouts[0], Features(coder, (1453,)))
    >>> look(host, text, direction)

    Args:
        text: text to read, or a rollout (prompt and answer).
        axis: what to read: features, a direction, or a coder together with `features`.
        features: which features of the coder.

    Returns:
        A view: displayed in a notebook, `.html` or `.save(path)` elsewhere.

    Raises:
        DataError: a coder without features, or no single text that has tokens.
        UnknownNameError, MismatchError: the axis does not fit this host.
    """
    axis = _axis(axis, features)
    axis.check(host)
    if not isinstance(text, str | Rollout):
        raise DataError(
            f"{type(text).__name__} in place of a text", do="look at one: a string, or rollouts[0]"
        )
    acts = capture(host, [text], [axis.at], progress=False)
    x = acts.at(axis.at).float()
    if len(x) == 0:
        raise DataError(
            "nothing to look at: the text has no tokens", do="give a text that the tokenizer knows"
        )
    with torch.no_grad():
        values = axis.read(x).float().cpu().numpy().astype(np.float64)
    name = text.problem.id if isinstance(text, Rollout) else host.name
    pieces = token_pieces(host, [int(i) for i in acts.index["token"]])
    return TokenView(f"{name} at {axis.at}", tuple(pieces), values, _labels(axis))


def _axis(
    axis: SparseCoder | Features | Direction, features: Sequence[int] | Features | None
) -> Features | Direction:
    if isinstance(axis, Features | Direction):
        if features is not None:
            raise DataError(
                f"{type(axis).__name__} and features were both given",
                do="leave features out, or give the coder",
            )
        return axis
    if isinstance(features, Features):
        return features
    if isinstance(features, int):
        raise DataError(
            f"features given as one number, {features}", do=f"look(host, text, coder, [{features}])"
        )
    if features is None:
        raise DataError(
            f"a coder of {axis.d_sae} features and none named", do="look(host, text, coder, [index, ...])"
        )
    return Features(axis, tuple(features))


def _labels(axis: Features | Direction) -> tuple[str, ...]:
    if isinstance(axis, Direction):
        return (axis.name or "direction",)
    return tuple(f"{axis.coder.name}/{i}" for i in axis.indices)
