"""Checks: what a search refuses before it reads anything: wrong types, and what does not belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np

from reasonmech.arguments import as_sequence, check_type, describe
from reasonmech.digest import ModelIdentity, check_model, identity_of
from reasonmech.errors import ArgumentError, MismatchError
from reasonmech.interventions import Features
from reasonmech.labels import Labels

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations

SEARCH: Final = "rm.locate(acts, labels, coder)"
LABELLING: Final = 'rm.label(rm.parse(rollouts), "check"), or rm.Labels.from_spans(...) for spans of your own'


@runtime_checkable
class _Captured(Protocol):
    """What tells activations from everything else that a caller may hold."""

    @property
    def host_hash(self) -> str: ...
    def rows(self, site: object, labels: Labels, /) -> object: ...


@runtime_checkable
class _OfSite(Protocol):
    """What tells a sparse coder from everything else that a caller may hold."""

    @property
    def site(self) -> object: ...
    @property
    def model_hash(self) -> str | None: ...


def check_is_activations(value: object, *, name: str = "acts") -> None:
    """Raise ArgumentError unless a value is activations."""
    if not isinstance(value, _Captured):
        raise ArgumentError(
            f"{name} is {describe(value)}",
            allowed="activations with their index: which token of which rollout every row is",
            do="rm.capture(host, rollouts, [site]), or rm.Activations.load(path)",
        )


def check_is_coder(value: object) -> None:
    """Raise ArgumentError unless a value is a sparse coder."""
    if not isinstance(value, _OfSite):
        raise ArgumentError(
            f"coder is {describe(value)}",
            allowed="a sparse coder",
            do="rm.load_coder(path or release/id), or rm.train_coder(acts, config)",
        )


def check_is_labels(value: object) -> None:
    """Raise ArgumentError unless a value is labels; rollouts are told how to become some."""
    check_type(value, Labels, name="labels", allowed="rows of a behaviour", do=LABELLING)


def feature_indices(features: Features | Sequence[int], *, name: str = "features") -> tuple[int, ...]:
    """Indices of features: those of a `Features`, or whole numbers. Raises ArgumentError."""
    if isinstance(features, Features):
        return features.indices
    allowed = "Features of a coder, or their indices"
    numbers: Sequence[Any] = as_sequence(features, (int, np.integer), name=name, allowed=allowed)
    return tuple(int(number) for number in numbers)


def check_coder(coder: SparseCoder, model: ModelIdentity | None) -> None:
    """Refuse activations of another model than the coder's.

    Raises:
        MismatchError: both are known, and differ.
    """
    check_model(
        f"coder {coder.name!r} was trained on weights",
        identity_of(coder, coder.model_hash),
        model,
        model="the model of the activations",
        do="capture from that model, or train a coder on these activations",
    )


def check_match(acts: Activations, labels: Labels, coder: SparseCoder) -> None:
    """Raise MismatchError unless coder, activations and labels belong together.

    Labels must have been made from the captured rollouts: at every labelled rollout both name the same
    problem.
    """
    check_coder(coder, identity_of(acts, acts.host_hash))
    check_labels(acts, labels)


def check_labels(acts: Activations, labels: Labels) -> None:
    """Raise MismatchError unless labels and activations name the same problem at every labelled rollout."""
    problem_of = acts.index.drop_duplicates("rollout").set_index("rollout")["problem"].astype(str)
    rollouts, first = np.unique(labels.rollout, return_index=True)
    labelled, captured = labels.problem[first].astype(str), problem_of.reindex(rollouts)
    # a rollout that was not captured at all is named where its rows are read
    differs = np.flatnonzero(captured.notna().to_numpy() & (captured.to_numpy() != labelled))
    if len(differs):
        i = differs[0]
        raise MismatchError(
            f"labels of {labels.behaviour!r} say that rollout {rollouts[i]} is of problem "
            f"{str(labelled[i])!r}, the captured one is of {captured.iloc[i]!r}: they were made from other "
            "rollouts, or in another order",
            do="label the rollouts that were captured",
        )
