"""bind: a plan meets a host. What can be wrong about the meeting is an error here, not a zero effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, final

from reasonmech.arguments import as_sequence, check_type
from reasonmech.door import checked
from reasonmech.errors import BindError, MismatchError, UnknownNameError
from reasonmech.hosts.difference import differences_of
from reasonmech.hosts.host import Host
from reasonmech.interventions.gates import Gate
from reasonmech.interventions.gates.two_pass import TwoPassGate
from reasonmech.interventions.intervention import Intervention
from reasonmech.site import Site
from reasonmech.step import CausalLabeller

_VERBS: Final = "interventions, made with ablate, clamp, scale, steer or patch"


class Stop(NamedTuple):
    """What happens at one place of the network: gates are read first, then edits apply in the plan's order.

    Attributes:
        site: whose tensor passes; of `z` all heads, though an intervention may read and write one of them.
        gates, edits: indices into the plan.
    """

    site: Site
    gates: tuple[int, ...]
    edits: tuple[int, ...]


@final
@dataclass(frozen=True, eq=False)
class BoundPlan:
    """A plan that fits its host.

    Attributes:
        original: the interventions as the caller made them; their fingerprints are those that are reported.
        plan: the same, words turned into tokens and tensors moved to the host's device.
        stops: in the order in which the network passes them.
        partner: the other host of a pair, which some gates read.
        labellers: what marks the tokens of the masks that say `labelled(name)`, in a run that decodes.
    """

    host: Host
    original: tuple[Intervention, ...]
    plan: tuple[Intervention, ...]
    stops: tuple[Stop, ...]
    partner: Host | None = None
    labellers: Mapping[str, CausalLabeller] = field(default_factory=dict)

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
        return any(_reads_partner(intervention.when) for intervention in self.plan)

    @property
    def partner_sites(self) -> tuple[Site, ...]:
        """Whole sites of the other host that gates read."""
        sites = (
            i.when.reads.at.whole for i in self.plan if i.when.reads is not None and i.when.role is not None
        )
        return tuple(dict.fromkeys(sites))

    def __repr__(self) -> str:
        return f"BoundPlan({len(self.plan)} interventions on {self.host.name!r})"


def as_plan(plan: Intervention | Sequence[Intervention]) -> Sequence[Intervention]:
    """A plan; one intervention is a plan of one.

    Raises:
        ArgumentError: something that is no intervention.
    """
    return as_sequence(plan, Intervention, name="plan", allowed=_VERBS)


@checked
def bind(
    plan: Intervention | Sequence[Intervention],
    host: Host,
    *,
    partner: Host | None = None,
    labellers: Mapping[str, CausalLabeller] | None = None,
    generating: bool = False,
) -> BoundPlan:
    """Check a plan against a host and order it along the network.

    Args:
        partner: the other host of a pair in lockstep, for gates that read it.
        labellers: name -> causal labeller, for masks that say `labelled(name)`.
        generating: the plan is for a run that decodes, where gates may read the partner and clean logits, and
            labels are made.

    Raises:
        UnknownNameError: a site that the host has not, a word that its tokenizer has not, or a label that
            nobody makes.
        MismatchError: a width, or the weights that a coder was trained on, are another model's.
        BindError: a gate reads a later site than its edit, or what this run does not have.
        ArgumentError: something that is no intervention, or no host.
    """
    check_type(host, Host, name="host", allowed="a Host", do="bind(plan, host), the plan first")
    original = tuple(as_plan(plan))
    fitted = tuple(
        fit(intervention, host, partner=partner, generating=generating) for intervention in original
    )
    bound = BoundPlan(host, original, fitted, stops_of(fitted), partner, dict(labellers or {}))
    if partner is not None and bound.reads_partner:
        _check_partner(bound, partner)
    if generating:
        _check_labellers(bound)
    return bound


def stops_of(plan: Sequence[Intervention]) -> tuple[Stop, ...]:
    """Where a plan reads its gates and applies its edits, in the order in which the network passes."""
    places: dict[tuple[int, int], tuple[Site, list[int], list[int]]] = {}
    for i, intervention in enumerate(plan):
        gate_axis = intervention.when.reads
        if gate_axis is not None and intervention.when.role is None:
            places.setdefault(gate_axis.at.depth, (gate_axis.at.whole, [], []))[1].append(i)
        places.setdefault(intervention.site.depth, (intervention.site.whole, [], []))[2].append(i)
    return tuple(Stop(site, tuple(gates), tuple(edits)) for _, (site, gates, edits) in sorted(places.items()))


def fit(
    intervention: Intervention, host: Host, *, partner: Host | None = None, generating: bool = False
) -> Intervention:
    """One intervention, checked against a host, words turned into tokens and tensors on the host's device.

    Raises:
        UnknownNameError, MismatchError, BindError: as in `bind`.
    """
    check_type(intervention, Intervention, name="an element of a plan", allowed=_VERBS)
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
    if _reads_partner(gate) and partner is None:
        raise BindError(
            f"{place} reads the other model of a pair, and there is none",
            do="generate(HostDecoder.of(pair.base, plan, partner=pair.thinking), problems)",
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


def _reads_partner(gate: Gate) -> bool:
    return gate.role is not None or (isinstance(gate, TwoPassGate) and gate.needs_partner)


def _check_labellers(bound: BoundPlan) -> None:
    for name in sorted(bound.labels - bound.labellers.keys()):
        raise UnknownNameError(
            "label",
            name,
            sorted(bound.labellers),
            do="in generation labels are made: generate(HostDecoder.of(host, plan, labellers={name: causal"
            " labeller}), problems)",
        )


def _check_partner(bound: BoundPlan, partner: Host) -> None:
    """Refuse a partner that would read other tokens, and gates that take it for two models at once."""
    roles = sorted({i.when.role for i in bound.plan if i.when.role is not None})
    if len(roles) > 1:
        raise BindError(
            "gates that read the base model and gates that read the thinking model, in one plan",
            allowed="one role: a run has one partner",
            do="leave out role= where the host itself is meant",
        )
    if partner.layers[0] is bound.host.layers[0]:
        raise BindError(
            f"{bound.host.name!r} and its partner {partner.name!r} are one model: hooks would act on both",
            allowed="two models, which may have the same weights",
            do="load it twice, once for each role",
        )
    fatal = [d for d in differences_of(bound.host, partner) if d.kind in ("logits", "vocabulary")]
    if fatal:
        raise MismatchError(
            f"{bound.host.name!r} and its partner {partner.name!r} differ: "
            + "; ".join(f"{d.kind}: {d.what}" for d in fatal),
            allowed="two models of one vocabulary",
            do="load them with load_pair, which checks it",
        )
