"""as_hooks: a plan as ordinary TransformerLens `fwd_hooks`, for everything the library does not do itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from reasonmech.arguments import check_type
from reasonmech.errors import BindError
from reasonmech.hosts.hookpoint import edit_sum
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import Stop, bind
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.no_change import Silence, check_masked
from reasonmech.site import Site
from reasonmech.step import Step

FwdHook = tuple[str, Callable[[Tensor, object], Tensor | None]]


def as_hooks(plan: Intervention | Sequence[Intervention], host: Host, step: Step) -> list[FwdHook]:
    """The plan as (hook name, function) pairs for `host.lens.run_with_hooks(ids, fwd_hooks=...)`.

    Differentiable: gradients flow through the edits. Made for the one pass that `step` describes
    (`Step.of(ids)`).

    Raises:
        UnknownNameError: the host has no such site.
        NoChangeError: a mask matches no token of this pass.
        BindError: the TransformerBridge shows a site nowhere (`run_with_hooks` ignores an unknown hook
            without a word).
        MismatchError, BindError: as in `bind`.
        ArgumentError: something that is no intervention, no host or no step.
    """
    check_type(step, Step, name="step", allowed="a Step", do="as_hooks(plan, host, Step.of(ids))")
    bound = bind(plan, host)
    hooks = Hooks(bound)
    hooks.begin(step)
    texts = [ids[real].tolist() for ids, real in zip(step.ids, step.mask, strict=True)]
    check_masked(bound.plan, hooks.n_masked, run=Silence(bound.plan, texts))
    bridge_hooks = host.lens.hook_dict
    fwd_hooks: list[FwdHook] = []
    for stop in bound.stops:
        name = host.lens_hook(stop.site)
        if name is None or name not in bridge_hooks:
            raise BindError(
                f"the TransformerBridge of {host.name!r} has no hook at which {stop.site} passes",
                allowed="sites that the bridge shows: resid_pre and resid_post of every layer are",
                do="use another site, or run the plan with forward or generate",
            )
        fwd_hooks += (
            _apply_at_sum(host, hooks, stop)
            if stop.site.kind == "resid_mid"
            else [(name, partial(_apply, hooks, stop))]
        )
    return fwd_hooks


def _apply(hooks: Hooks, stop: Stop, x: Tensor, hook: object) -> Tensor | None:
    if x.dim() == 3:
        return hooks.apply(stop, x)
    new = hooks.apply(stop, x.flatten(2))  # the bridge keeps heads apart
    return None if new is None else new.reshape(x.shape)


def _apply_at_sum(host: Host, hooks: Hooks, stop: Stop) -> list[FwdHook]:
    """Hooks of the stream between the halves, which is written through what attention adds to it."""
    entry, half = host.lens_entry(stop.site.layer), host.lens_hook(Site("attn_out", stop.site.layer))
    assert entry is not None and half is not None, "a bridge that shows the sum shows both of its parts"
    block_input: list[Tensor] = []  # handed from the block's entry to its attention, pass by pass

    def enter(x: Tensor, hook: object) -> None:
        block_input[:] = [x]

    def through(added: Tensor, hook: object) -> Tensor | None:
        return edit_sum(added, block_input.pop(), partial(hooks.apply, stop))

    return [(entry, enter), (half, through)]
