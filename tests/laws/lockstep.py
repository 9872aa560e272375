"""A slow reference for gates that read the other host, or clean logits: no cache, no batch, nothing in
lockstep."""

from dataclasses import replace

import torch
from torch import Tensor

from reasonmech.hosts.host import Host
from reasonmech.interventions import Gate, Hooks, Intervention, TwoPassGate, always, at, bind
from reasonmech.step import Step


def logits_of(host: Host, ids: list[int], plan: list[Intervention], prompt_length: int) -> Tensor:
    step = Step.of(torch.tensor([ids]), prompt_length=prompt_length)
    with Hooks(bind(plan, host)) as hooks, torch.no_grad():
        hooks.begin(step)
        return host.model(step.ids).logits[0, -1]


def stream(host: Host, ids: list[int], site: str) -> Tensor:
    seen: list[Tensor] = []
    handle = host.hook_point(site).attach(seen.append)
    with torch.no_grad():
        host.model(torch.tensor([ids]))
    handle.remove()
    return seen[0][0]


def only(intervention: Intervention, positions: list[int], when: Gate) -> list[Intervention]:
    """The intervention under that gate, at some of the tokens that its mask names."""
    return [replace(intervention, where=intervention.where & at(*positions), when=when)] if positions else []


def lockstep(
    host: Host, prompt: str, plan: list[Intervention], new: int, *, partner: Host
) -> tuple[list[int], list[set[int]]]:
    """Greedy tokens, and for every intervention the positions at which its gate was open, whatever its mask
    says."""
    ids = host.encode(prompt)
    n, opened = len(ids), [set[int]() for _ in plan]
    reads_logits = any(isinstance(intervention.when, TwoPassGate) for intervention in plan)

    def ready(last: bool) -> list[Intervention]:
        """The plan at what is open, with the last token or without; a gate of the host's own stays one."""
        ready_plan: list[Intervention] = []
        for intervention, positions in zip(plan, opened, strict=True):
            gate, until = intervention.when, len(ids) - (not last)
            if gate.role is not None or isinstance(gate, TwoPassGate):
                ready_plan += only(intervention, [p for p in range(until) if p in positions], always())
            else:
                ready_plan += only(intervention, [*range(until)], gate)
        return ready_plan

    for _ in range(new):
        for intervention, positions in zip(plan, opened, strict=True):
            gate, axis = intervention.when, intervention.when.reads
            if gate.role is not None and axis is not None:
                weight = gate.weight(axis.read(stream(partner, ids, str(axis.at))))
                positions |= set(weight.nonzero().flatten().tolist())
        if reads_logits:
            mine, other = logits_of(host, ids, ready(last=False), n), logits_of(partner, ids, [], n)
            for intervention, positions in zip(plan, opened, strict=True):
                gate = intervention.when
                if isinstance(gate, TwoPassGate) and bool(
                    gate.weight(gate.coords(mine[None], other[None]))[0]
                ):
                    positions.add(len(ids) - 1)
        ids.append(int(logits_of(host, ids, ready(last=True), n).argmax()))
        if ids[-1] in host.eos_ids:
            break
    return ids[n:], opened
