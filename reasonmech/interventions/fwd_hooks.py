"""as_hooks: a plan as ordinary TransformerLens `fwd_hooks`, for everything the library does not do itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from reasonmech.errors import BindError, NeverFiredError
from reasonmech.hosts.hookpoint import edit_sum
from reasonmech.interventions.bind import Stop, bind
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention
from reasonmech.site import Site
from reasonmech.step import Step

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host

FwdHook = tuple[str, Callable[[Tensor, object], Tensor | None]]


def as_hooks(plan: Sequence[Intervention], host: Host, step: Step) -> list[FwdHook]:
    """The plan as (hook name, function) pairs for `host.lens.run_with_hooks(ids, fwd_hooks=...)`.

    Differentiable: gradients flow through the edits. Made for the one pass that `step` describes
    (`Step.of(ids)`).

    Raises:
        UnknownNameError: the host has no such site.
        NeverFiredError: a mask matches no token of this pass.
        BindError: the TransformerBridge shows a site nowhere (`run_with_hooks` ignores an unknown hook
            without a word).
        MismatchError, BindError: as in `bind`.
    """
    bound = bind(plan, host)
    hooks = Hooks(bound)
    hooks.begin(step)
    check_masked(bound.plan, hooks.n_masked)
    known = host.lens.hook_dict
    found: list[FwdHook] = []
    for stop in bound.stops:
        name = host.lens_hook(stop.site)
        if name is None or name not in known:
            raise BindError(
                f"the TransformerBridge of {host.name!r} has no hook at which {stop.site} passes",
                allowed="sites that the bridge shows: resid_pre and resid_post of every layer are",
                do="use another site, or run the plan with forward or generate",
            )
        found += (
            _at_sum(host, hooks, stop)
            if stop.site.kind == "resid_mid"
            else [(name, partial(_hook, hooks, stop))]
        )
    return found


def _hook(hooks: Hooks, stop: Stop, x: Tensor, hook: object) -> Tensor | None:
    if x.dim() == 3:
        return hooks.apply(stop, x)
    new = hooks.apply(stop, x.flatten(2))  # the bridge keeps heads apart
    return None if new is None else new.reshape(x.shape)


def _at_sum(host: Host, hooks: Hooks, stop: Stop) -> list[FwdHook]:
    """The stream between the halves is written through what attention adds to the stream that entered the
    block."""
    entry, half = host.lens_entry(stop.site.layer), host.lens_hook(Site("attn_out", stop.site.layer))
    assert entry is not None and half is not None, "a bridge that shows the sum shows both of its parts"
    held: list[Tensor] = []

    def enter(x: Tensor, hook: object) -> None:
        held[:] = [x]

    def through(added: Tensor, hook: object) -> Tensor | None:
        return edit_sum(added, held.pop(), partial(hooks.apply, stop))

    return [(entry, enter), (half, through)]


def check_masked(plan: Sequence[Intervention], n_masked: Sequence[int], *, result: object = None) -> None:
    """Raise NeverFiredError, with the result on it, when a mask named no token of a run."""
    for i, (intervention, n) in enumerate(zip(plan, n_masked, strict=True)):
        if n == 0:
            raise NeverFiredError(
                f"{intervention.verb} at {intervention.site} (number {i} of the plan) touched nothing:"
                f" its mask {intervention.where} matched no token of the run",
                allowed="a mask that names at least one token",
                do="look at the mask; what was computed is on the error's .result",
                result=result,
            )
