"""FeatureGroups: groups of a coder's features, in order, and how much of each is patched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, TypeAlias, final, get_args

import numpy as np

from reasonmech.arguments import as_sequence, check_type, describe
from reasonmech.coders.coder import SparseCoder
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, DataError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Features

ErrorNode: TypeAlias = Literal["keep", "drop", "patch"]
Groups: TypeAlias = Mapping[str, Sequence[int]] | Sequence[int]

GROUP: Final = "group"  # the features of the group are moved; also the name of a group that was given none
REST: Final = "rest"  # all other features are
CONTROL: Final = "random"  # a group whose name begins so is a control
GROUPS: Final = "features, most important first, or a mapping: name -> features"


class GroupPatch(NamedTuple):
    """One patched stream: these features, or all others, moved, and the error treated so."""

    features: frozenset[int]
    error: ErrorNode
    patched: str


class CurvePoint(NamedTuple):
    """One point of one curve: the first n features of a group."""

    group: str
    n: int
    patch: GroupPatch


@checked
@final
@dataclass(frozen=True, eq=False)
class FeatureGroups:
    """Groups of features of one coder, and how they are patched.

    Attributes:
        coder: whose features.
        groups: features, most important first, such as `attribution.ranking(site)`; or name -> features.
            Groups whose name begins with "random" are controls, such as `rm.matched_features` draws.
        sizes: numbers of features that are patched. None: 0, 1, 2, 4, ... and the length of every group.
        error: what becomes of the coder's reconstruction error: "keep" leaves the target's in the stream,
            "drop" takes it out (the share of the empty group then says what that alone does), "patch" moves
            it with whatever is patched (group and rest alike), so that all features together are the whole
            site. One, or several beside each other.
        transfer: the coder may come from another model than the host (a base's in its thinking sibling).

    Raises:
        ArgumentError: no coder, or features that are no numbers.
        DataError: an empty or repeating group, or a size that no group has.
        UnknownNameError: a feature or an error treatment that does not exist.
    """

    coder: SparseCoder
    groups: Groups
    sizes: Sequence[int] | None = None
    error: ErrorNode | Sequence[ErrorNode] = ("keep", "drop")
    transfer: bool = False

    def __post_init__(self) -> None:
        coder = check_type(
            self.coder,
            SparseCoder,
            name="coder",
            allowed="a sparse coder, such as rm.load_coder(path)",
            do="write rm.causal.FeatureGroups(coder, groups)",
        )
        if not self.named or not self.errors:
            raise DataError(
                f"{len(self.named)} groups and {len(self.errors)} error treatments",
                allowed="at least one of each",
            )
        for error in self.errors:
            if error not in get_args(ErrorNode):
                raise UnknownNameError("error treatment", str(error), get_args(ErrorNode))
        for name, features in self.named.items():
            if not features or len(set(features)) < len(features):
                raise DataError(
                    f"group {name!r} holds features {list(features)}", allowed="at least one, each once"
                )
            if outside := [feature for feature in features if not 0 <= feature < coder.d_sae]:
                raise UnknownNameError(
                    f"feature of {coder.name!r}", str(outside[0]), [f"0 .. {coder.d_sae - 1}"]
                )
        if self.sizes is not None and not all(0 <= size <= self.longest for size in self.sizes):
            raise DataError(
                f"sizes {list(self.sizes)}", allowed=f"0 .. {self.longest}: no group has more features"
            )

    @cached_property
    def named(self) -> dict[str, tuple[int, ...]]:
        """Name -> features; one group without a name is "group"."""
        groups = self.groups if isinstance(self.groups, Mapping) else {GROUP: self.groups}
        return {str(name): _features(features, name) for name, features in groups.items()}

    @cached_property
    def errors(self) -> tuple[ErrorNode, ...]:
        """The error treatments."""
        return (self.error,) if isinstance(self.error, str) else tuple(self.error)  # type: ignore[return-value]

    @property
    def longest(self) -> int:
        """Features of the longest group."""
        return max(len(features) for features in self.named.values())

    @property
    def features(self) -> set[int]:
        """Every feature of any group."""
        return {feature for features in self.named.values() for feature in features}

    def points(self) -> list[CurvePoint]:
        """Every group at every size that it has, both sides, every error treatment."""
        doubling = [0, *(2**i for i in range(self.longest.bit_length()))]
        points = []
        for name, features in self.named.items():
            sizes = sorted({*doubling, len(features)} if self.sizes is None else set(self.sizes))
            for n in (size for size in sizes if size <= len(features)):
                first = frozenset(features[:n])
                points += [
                    CurvePoint(name, n, GroupPatch(first, error, side))
                    for error in self.errors
                    for side in (GROUP, REST)
                ]
        return points

    def check(self, host: Host) -> None:
        """Raise MismatchError or UnknownNameError unless the coder fits the host."""
        Features(self.coder, (0,), transfer=self.transfer).check(host)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {len(features)}" for name, features in self.named.items())
        return f"FeatureGroups({self.coder.name}, {sizes})"


def as_groups(groups: FeatureGroups | Features) -> FeatureGroups:
    """Groups as they are; `Features` as one group. Raises ArgumentError for anything else."""
    if isinstance(groups, Features):
        return FeatureGroups(groups.coder, groups.indices, transfer=groups.transfer)
    return check_type(
        groups,
        FeatureGroups,
        name="groups",
        allowed="rm.Features(coder, indices), or rm.causal.FeatureGroups(coder, groups)",
        do="write rm.causal.FeatureGroups(coder, {name: attribution.ranking(site)[:16], ...})",
    )


def _features(features: object, name: object) -> tuple[int, ...]:
    if isinstance(features, str) or not isinstance(features, Sequence):
        raise ArgumentError(
            f"group {name!r} is {describe(features)}", allowed=GROUPS, do="attribution.ranking(site)[:16]"
        )
    numbers: Sequence[Any] = as_sequence(features, (int, np.integer), name=f"group {name!r}", allowed=GROUPS)
    return tuple(int(number) for number in numbers)
