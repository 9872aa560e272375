"""No-op parity: whether hooks that change nothing leave a model's logits as they are."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch

from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import run_alone
from reasonmech.interventions.axes import Whole
from reasonmech.interventions.bind import BoundPlan, stops_of
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.verbs import steer
from reasonmech.runtime.passes import full_logits
from reasonmech.site import Site
from reasonmech.step import Step

_measured: WeakKeyDictionary[Host, float] = WeakKeyDictionary()  # once per host and process


def noop_parity(host: Host) -> float:
    """Largest |difference| of logits on fixed tokens, under an identity edit and of plain Hugging Face."""
    if host not in _measured:
        ids = torch.arange(16).remainder(host.vocab_size)[None]
        zeros = torch.zeros(host.d_model, device=host.device)
        plan = (steer(Whole(Site("resid_post", host.n_layers // 2)), zeros),)
        bound = BoundPlan(host, plan, plan, stops_of(plan))  # made for this host: there is nothing to check
        step = Step.of(ids)
        with torch.no_grad():
            plain = run_alone(host, lambda: host.model(ids.to(host.device), use_cache=False)).logits
            with Hooks(bound) as hooks:
                hooks.begin(step)
                hooked = full_logits(host, step)
        _measured[host] = float((hooked.float() - plain.float()).abs().max())
    return _measured[host]
