"""A plan for every mask, verb and kind of site, and a slow reference to hold whole runs to."""

import torch

from reasonmech.hosts.host import Host
from reasonmech.interventions import (
    Direction,
    Features,
    Hooks,
    Intervention,
    Whole,
    ablate,
    above,
    below,
    bind,
    clamp,
    generated,
    inside,
    patch,
    prompt,
    scale,
    sentence_starts,
    steer,
    tokens,
)
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.step import Step
from reasonmech.testing import tiny_coder, tiny_host

HOST: Host = tiny_host("llama")
CODER = tiny_coder(HOST)
PROMPTS = ["w1 w2 . w3", "w5", "w9 w1 . w4 w2 w40 w3", "<think> w7 w7", "w1 . w2 w3 ."]
DECODE = Decode(max_new_tokens=14)
CLOSE = {"atol": 1e-4, "rtol": 1e-5}  # logits of a head scaled by 30: 1e-5 of their range


def direction(seed: int, site: str = "resid_post.1") -> Direction:
    return Direction.along(torch.randn(HOST.width(site), generator=torch.Generator().manual_seed(seed)), site)


def plans() -> dict[str, list[Intervention]]:
    """One plan per mask and verb, at every kind of site."""
    v = direction(0)
    return {
        "steer_everywhere": [steer(v, 2.0)],
        "steer_generated": [steer(direction(1, "attn_out.2"), 3.0, where=generated())],
        "steer_prompt_end": [steer(direction(1, "mlp_out.0"), 3.0, where=prompt(start=-1))],
        "window": [steer(direction(2, "resid_pre.2"), 4.0, where=generated(2, 5))],
        "clamp_sentence_starts": [clamp(Features(CODER, (3, 9)), 5.0, where=sentence_starts())],
        "ablate_tokens": [ablate(v, where=tokens("w1", ".", "w2") | generated(3))],
        "inside": [scale(v, -2.0, where=inside("<think>", "</think>") | generated(1))],
        "gated": [steer(direction(3, "resid_post.2"), 5.0, when=above(v, 0.5))],
        "gated_features": [
            steer(direction(3, "resid_post.2"), 5.0, when=above(Features(CODER, (1, 2, 3, 4)), 0.1))
        ],
        "several": [
            steer(v, 2.0),
            ablate(direction(4)),
            clamp(Features(CODER, (7,)), 3.0, when=below(v, 1.0)),
        ],
        "whole": [
            ablate(Whole("mlp_out.3"), where=generated(stop=4)),
            steer(Whole("resid_pre.0"), torch.ones(32)),
        ],
        "patch": [patch(v, torch.randn(40, 32, generator=torch.Generator().manual_seed(7)))],
    }


PLANS = plans()


def ids_of(rollouts: Rollouts) -> list[tuple[int, ...]]:
    return [rollout.ids for rollout in rollouts]


def uncached(host: Host, prompt_ids: list[int], plan: list[Intervention], new: int) -> tuple[int, ...]:
    """Ten lines without a cache, a batch or a resident hook: the whole text again for every token."""
    ids = list(prompt_ids)
    for _ in range(new):
        step = Step.of(torch.tensor([ids]), prompt_length=len(prompt_ids))
        with Hooks(bind(plan, host)) as hooks, torch.no_grad():
            hooks.begin(step)
            ids.append(int(host.model(step.ids).logits[0, -1].argmax()))
        if ids[-1] in host.eos_ids:
            break
    return tuple(ids[len(prompt_ids) :])
