"""bind: a plan meets a host. Everything that can be wrong about the meeting is an error here, not a zero effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, final

from reasonmech.errors import BindError, MismatchError
from reasonmech.interventions.intervention import Intervention
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host


class Stop(NamedTuple):
    """What happens at one place of the network: gates are read first, then edits apply in the order of the plan.

    Attributes:
        site: whose tensor passes; of `z` all heads, though an intervention may read and write one of them.
        gates, edits: indices into the plan.
    """

    site: Site
    gates: tuple[int, ...]
    edits: tuple[int, ...]


@final
@dataclass(frozen=True, eq=False)
class Bound:
    """A plan that fits its host.

    Attributes:
        given: the interventions as the caller wrote them: their fingerprints are the ones that are reported.
        plan: the same, words turned into tokens and tensors moved to the host's device.
        stops: in the order in which the network passes them.
    """

    host: Host
    given: tuple[Intervention, ...]
    plan: tuple[Intervention, ...]
    stops: tuple[Stop, ...]

    @property
    def labels(self) -> frozenset[str]:
        """Names of the labels that its masks need."""
        return frozenset().union(*(intervention.where.labels() for intervention in self.plan))


def bind(plan: Sequence[Intervention], host: Host) -> Bound:
    """Check a plan against a host and order it along the network.

    Raises:
        UnknownNameError: a site that the host has not, or a word that its tokenizer has not.
        MismatchError: a width, or the weights that a coder was trained on, are another model's.
        BindError: a gate reads a later site than its edit, or something that is no intervention is in the plan.
    """
    if isinstance(plan, Intervention):
        raise BindError("a single intervention as a plan", allowed="a list of interventions", do="write [intervention]")
    ready = tuple(fit(intervention, host) for intervention in plan)
    return Bound(host, tuple(plan), ready, stops_of(ready))


def stops_of(ready: Sequence[Intervention]) -> tuple[Stop, ...]:
    """Where a plan reads its gates and applies its edits, in the order in which the network passes."""
    places: dict[tuple[int, int], tuple[Site, list[int], list[int]]] = {}
    for i, intervention in enumerate(ready):
        gated = intervention.when.reads
        if gated is not None:
            places.setdefault(gated.at.depth, (gated.at.whole, [], []))[1].append(i)
        places.setdefault(intervention.site.depth, (intervention.site.whole, [], []))[2].append(i)
    return tuple(Stop(site, tuple(read), tuple(edit)) for _, (site, read, edit) in sorted(places.items()))


def fit(intervention: Intervention, host: Host) -> Intervention:
    """One intervention, checked against a host, its words turned into tokens and its tensors on the host's device.

    Raises:
        UnknownNameError, MismatchError, BindError: as in `bind`.
    """
    if not isinstance(intervention, Intervention):
        raise BindError(
            f"a {type(intervention).__name__} in a plan",
            allowed="interventions",
            do="make them with ablate, clamp, scale, steer, patch",
        )
    intervention.axis.check(host)
    width = host.width(intervention.site)
    for what, stream in intervention.edit.streams(intervention.axis).items():
        if stream.shape[-1] != width:
            raise MismatchError(
                f"{what} has {stream.shape[-1]} dimensions, {intervention.site} of host {host.name!r} has {width}",
                do="take it from this very site of this model",
            )
    gate = intervention.when
    if gate.reads is not None:
        gate.reads.check(host)
        if gate.reads.at.depth > intervention.site.depth:
            raise BindError(
                f"the gate of {intervention.verb} at {intervention.site} reads {gate.reads.at}, which comes later",
                allowed=f"a gate at {intervention.site} or earlier",
                do="gate on an earlier site",
            )
        gate = gate.on(gate.reads.to(host.device))
    return replace(
        intervention,
        axis=intervention.axis.to(host.device),
        where=intervention.where.resolve(host.tokenizer),
        when=gate,
    )
