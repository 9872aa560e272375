"""bind: a plan meets a host. Everything that can be wrong about the meeting is an error here, not a zero
effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, final

from reasonmech.errors import BindError, MismatchError
from reasonmech.hosts.difference import differences_of
from reasonmech.interventions.gates import Gate
from reasonmech.interventions.gates.two_pass import TwoPassGate
from reasonmech.interventions.intervention import Intervention
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host


class Stop(NamedTuple):
    """What happens at one place of the network: gates are read first, then edits apply in the order of the
    plan.

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
        partner: the other host of a pair, which some gates read.
    """

    host: Host
    given: tuple[Intervention, ...]
    plan: tuple[Intervention, ...]
    stops: tuple[Stop, ...]
    partner: Host | None = None

    @property
    def labels(self) -> frozenset[str]:
        """Names of the labels that its masks need."""
        return frozenset().union(*(intervention.where.labels() for intervention in self.plan))

    @property
    def reconsiders(self) -> bool:
        """Some gate reads clean logits, so that a position is computed before it is edited."""
        return any(isinstance(intervention.when, TwoPassGate) for intervention in self.plan)

    @property
    def reads_partner(self) -> bool:
        """Some gate reads the other host."""
        return any(_of_partner(intervention.when) for intervention in self.plan)

    @property
    def partner_sites(self) -> tuple[Site, ...]:
        """Whole sites of the other host that gates read."""
        found = (
            i.when.reads.at.whole for i in self.plan if i.when.reads is not None and i.when.role is not None
        )
        return tuple(dict.fromkeys(found))


def bind(
    plan: Sequence[Intervention], host: Host, *, partner: Host | None = None, generating: bool = False
) -> Bound:
    """Check a plan against a host and order it along the network.

    Args:
        partner: the other host of a pair in lockstep, for gates that read it.
        generating: the plan is for a run that decodes, where gates may read the partner and clean logits.

    Raises:
        UnknownNameError: a site that the host has not, or a word that its tokenizer has not.
        MismatchError: a width, or the weights that a coder was trained on, are another model's.
        BindError: a gate reads a later site than its edit, or what this run does not have; or something that
            is no intervention is in the plan.
    """
    if isinstance(plan, Intervention):
        raise BindError(
            "a single intervention as a plan", allowed="a list of interventions", do="write [intervention]"
        )
    ready = tuple(fit(intervention, host, partner=partner, generating=generating) for intervention in plan)
    bound = Bound(host, tuple(plan), ready, stops_of(ready), partner)
    if partner is not None and bound.reads_partner:
        _check_partner(bound, partner)
    return bound


def stops_of(ready: Sequence[Intervention]) -> tuple[Stop, ...]:
    """Where a plan reads its gates and applies its edits, in the order in which the network passes."""
    places: dict[tuple[int, int], tuple[Site, list[int], list[int]]] = {}
    for i, intervention in enumerate(ready):
        gated = intervention.when.reads
        if gated is not None and intervention.when.role is None:
            places.setdefault(gated.at.depth, (gated.at.whole, [], []))[1].append(i)
        places.setdefault(intervention.site.depth, (intervention.site.whole, [], []))[2].append(i)
    return tuple(Stop(site, tuple(read), tuple(edit)) for _, (site, read, edit) in sorted(places.items()))


def fit(
    intervention: Intervention, host: Host, *, partner: Host | None = None, generating: bool = False
) -> Intervention:
    """One intervention, checked against a host, its words turned into tokens and its tensors on the host's
    device.

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
                f"{what} has {stream.shape[-1]} dimensions, {intervention.site} of host {host.name!r} has "
                f"{width}",
                do="take it from this very site of this model",
            )
    return replace(
        intervention,
        axis=intervention.axis.to(host.device),
        where=intervention.where.resolve(host.tokenizer),
        when=_fit_gate(intervention, host, partner=partner, generating=generating),
    )


def _fit_gate(intervention: Intervention, host: Host, *, partner: Host | None, generating: bool) -> Gate:
    gate, place = intervention.when, f"the gate of {intervention.verb} at {intervention.site}"
    if (isinstance(gate, TwoPassGate) or gate.role is not None) and not generating:
        what = "clean logits" if gate.role is None else f"the {gate.role} model beside this one"
        raise BindError(
            f"{place} reads {what}, which only a run that decodes has",
            allowed="such gates in generate",
            do="use generate; or gate on the host's own activations: above, below, ramp without role=",
        )
    if _of_partner(gate) and partner is None:
        raise BindError(
            f"{place} reads the other model of a pair, and there is none",
            do="generate(pair.base, problems, plan, partner=pair.thinking)",
        )
    if gate.reads is None:
        return gate
    reader = host if gate.role is None or partner is None else partner
    gate.reads.check(reader)
    if gate.role is None and gate.reads.at.depth > intervention.site.depth:
        raise BindError(
            f"{place} reads {gate.reads.at}, which comes later",
            allowed=f"a gate at {intervention.site} or earlier",
            do="gate on an earlier site",
        )
    return gate.on(gate.reads.to(reader.device))


def _of_partner(gate: Gate) -> bool:
    return gate.role is not None or (isinstance(gate, TwoPassGate) and gate.needs_partner)


def _check_partner(bound: Bound, partner: Host) -> None:
    """Refuse a partner that would read other tokens, and gates that take it for two models at once."""
    roles = sorted({i.when.role for i in bound.plan if i.when.role is not None})
    if len(roles) > 1:
        raise BindError(
            "gates that read the base model and gates that read the thinking model, in one plan",
            allowed="one role: a run has one partner",
            do="leave out role= where the host itself is meant",
        )
    fatal = [d for d in differences_of(bound.host, partner) if d.kind in ("logits", "vocabulary")]
    if fatal:
        raise MismatchError(
            f"{bound.host.name!r} and its partner {partner.name!r} differ: "
            + "; ".join(f"{d.kind}: {d.what}" for d in fatal),
            allowed="two models of one vocabulary",
            do="load them with load_pair, which checks it",
        )
