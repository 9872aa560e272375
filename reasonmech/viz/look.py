"""Look: a text's tokens coloured by what features, or a direction, read there."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Final

import numpy as np
import torch

from reasonmech.arguments import check_type, describe
from reasonmech.coders import SparseCoder
from reasonmech.errors import ArgumentError, DataError
from reasonmech.hosts import Host
from reasonmech.interventions import Direction, Features
from reasonmech.locate.feature_summary.tokens import token_pieces
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.activations.site_sinks import sinks_at, sinks_of
from reasonmech.viz.view import TokenView

READABLE: Final = "a coder with indices of its features, rm.Features, or rm.Direction"
CALL: Final = "rm.look(host, text, coder, [3, 11])"


def look(
    host: Host,
    text: str | Rollout,
    axis: SparseCoder | Features | Direction,
    features: Iterable[int] | Features | None = None,
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
        A view, its shades scaled by the tokens that are no attention sinks: displayed in a notebook, `.html`
        or `.save(path)` elsewhere.

    Raises:
        ArgumentError: no host, several texts, or nothing that can be read.
        DataError: a coder without features, features twice, or a text without tokens.
        UnknownNameError, MismatchError: the axis does not fit this host.
    """
    check_type(host, Host, name="host", allowed="one model (of a pair: pair.base)", do=CALL)
    axis = _as_axis(axis, features)
    axis.check(host)
    check_type(
        text,
        (str, Rollout),
        name="text",
        allowed="one text, or one rollout",
        do="look at one: a string, or rollouts[0]",
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
    sinks = sinks_at(acts, axis.at, sinks_of(acts, axis.at)).nonzero()[:, 0].tolist()
    if len(sinks) == len(pieces):  # nothing is left to scale by
        sinks = []
    return TokenView(f"{name} at {axis.at}", tuple(pieces), values, _labels_of(axis), tuple(sinks))


def _as_axis(
    axis: SparseCoder | Features | Direction, features: Iterable[int] | Features | None
) -> Features | Direction:
    do = f"{CALL}, or rm.look(host, text, rm.Direction.along(vector, site))"
    check_type(axis, (SparseCoder, Features, Direction), name="axis", allowed=READABLE, do=do)
    if isinstance(axis, Features | Direction):
        if features is not None:
            raise DataError(
                f"{type(axis).__name__} and features were both given",
                do="leave features out, or give the coder",
            )
        return axis
    if isinstance(features, Features):
        return features
    if features is None:
        raise DataError(f"a coder of {axis.d_sae} features and none named", do=CALL)
    return Features(axis, _as_indices(features))


def _as_indices(features: Iterable[int]) -> tuple[int, ...]:
    """Whole numbers of any library, as integers."""
    if isinstance(features, str) or not isinstance(features, Iterable):
        shown = features if isinstance(features, int) else 3
        raise ArgumentError(
            f"features is {describe(features)}",
            allowed="indices of the coder's features",
            do=f"rm.look(host, text, coder, [{shown}])",
        )
    indices: list[int] = []
    for place, feature in enumerate(features):
        try:
            indices.append(index(feature))
        except TypeError:
            raise ArgumentError(
                f"features[{place}] is {describe(feature)}",
                allowed="indices of the coder's features",
                do=CALL,
            ) from None
    return tuple(indices)


def _labels_of(axis: Features | Direction) -> tuple[str, ...]:
    if isinstance(axis, Direction):
        return (axis.name or "direction",)
    return tuple(f"{axis.coder.name}/{i}" for i in axis.indices)
