"""Identities are bit-exact, hosts are restored, edits are pure, fingerprints are content (semantics 6, 9,
10)."""

import pytest
import torch
from torch import nn

from reasonmech.errors import UnknownNameError
from reasonmech.interventions import (
    Direction,
    Features,
    Hooks,
    Subspace,
    Whole,
    above,
    bind,
    clamp,
    generated,
    patch,
    scale,
    steer,
    tokens,
)
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.forward import forward
from reasonmech.step import Step
from reasonmech.testing import tiny_host
from tests.laws.plans import CODER, DECODE, HOST, PLANS, PROMPTS, direction, ids_of

IDENTITIES = {
    "scale_direction": lambda: scale(direction(0), 1.0),
    "steer_direction": lambda: steer(direction(0), 0.0),
    "scale_subspace": lambda: scale(Subspace(torch.eye(32)[:3], "resid_mid.1"), 1.0),
    "steer_subspace": lambda: steer(Subspace(torch.eye(8)[:3], "z.1.2"), torch.zeros(3)),
    "steer_middle": lambda: steer(Whole("resid_mid.2"), torch.zeros(32)),
    "steer_head": lambda: steer(Whole("z.2.1"), torch.zeros(8)),
    "scale_features": lambda: scale(Features(CODER, (3, 5)), 1.0),
    "steer_features": lambda: steer(Features(CODER, (3, 5)), 0.0),
    "steer_whole": lambda: steer(Whole("attn_out.1"), torch.zeros(32)),
    "gated_shut": lambda: clamp(direction(0), 9.0, when=above(direction(0), 1e9)),
    "masked_part": lambda: scale(direction(0), 1.0, where=tokens("w1")),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities_are_bit_exact(name: str) -> None:
    plan = [IDENTITIES[name]().allow_no_change()]
    clean, edited = forward(HOST, PROMPTS), forward(HOST, PROMPTS, plan)
    assert all(torch.equal(a, b) for a, b in zip(clean.logits, edited.logits, strict=True))
    assert edited.receipt.kl == 0 and edited.receipt.lines[0].max_relative == 0
    decode = Decode(max_new_tokens=12, temperature=1.0)
    assert ids_of(generate(HOST, PROMPTS, plan, decode=decode)) == ids_of(
        generate(HOST, PROMPTS, decode=decode)
    )


def hooks_in(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_the_host_is_itself_after_a_run_and_after_an_exception() -> None:
    host = tiny_host()
    weights = {name: value.clone() for name, value in host.model.state_dict().items()}
    ids = torch.tensor([host.encode("w1 w2 w3")])
    logits = host.model(ids).logits
    generate(host, PROMPTS, PLANS["several"], decode=DECODE)
    forward(host, PROMPTS, PLANS["whole"][1:])
    short = patch(Whole("resid_post.1"), torch.randn(3, 32))
    with pytest.raises(Exception, match="position"):
        forward(host, PROMPTS, [short])
    with pytest.raises(Exception, match="position"):
        generate(host, PROMPTS, [short], decode=DECODE)
    with pytest.raises(UnknownNameError):
        generate(host, PROMPTS, [steer(direction(0), 1.0), steer(direction(0, "resid_post.9"), 1.0)])
    assert hooks_in(host.model) == 0
    assert all(torch.equal(weights[name], value) for name, value in host.model.state_dict().items())
    assert torch.equal(host.model(ids).logits, logits)
    assert all(p.requires_grad and p.grad is None for p in host.model.parameters())


def test_edits_are_differentiable_and_never_in_place() -> None:
    for name, plan in PLANS.items():
        hooks = Hooks(bind(plan, HOST))
        hooks.begin(Step.of(torch.tensor([HOST.encode(PROMPTS[0])]), prompt_length=2))
        for stop in hooks.bound.stops:
            x = torch.randn(1, 4, 32, requires_grad=True)
            original = x.detach().clone()
            out = hooks.apply(stop, x)
            assert torch.equal(x.detach(), original), name
            if out is not None:
                [gradient] = torch.autograd.grad(out.sum(), x, allow_unused=True)
                assert gradient is not None or name == "whole", name


def test_gradients_are_off_at_the_runtimes_door() -> None:
    out = forward(HOST, PROMPTS, [steer(direction(0), 1.0)])
    assert not any(logits.requires_grad for logits in out.logits)


def test_a_fingerprint_is_the_content() -> None:
    v = direction(0)
    same = Direction(v.vector.clone(), "resid_post.1", name="another name")
    assert steer(v, 1.0).fingerprint == steer(same, 1).fingerprint
    different = [
        steer(v, 1.0),
        steer(v, 1.5),
        clamp(v, 1.0),
        steer(direction(1), 1.0),
        steer(Direction(v.vector, "resid_post.2"), 1.0),
        steer(v, 1.0, where=generated()),
        steer(v, 1.0, where=generated(1)),
        steer(v, 1.0, when=above(v, 0.0)),
        clamp(Features(CODER, (1,)), 1.0),
        clamp(Features(CODER, (2,)), 1.0),
        clamp(Features(CODER, (1,)), 1.0, error="drop"),
        clamp(Features(CODER, (1,)), torch.tensor([1.0])),
        clamp(Subspace(v.vector[None], "resid_post.1"), 1.0),
        steer(Whole("z.1.0"), torch.ones(8)),
        steer(Whole("z.1.1"), torch.ones(8)),
        patch(v, torch.zeros(32)),
        patch(v, torch.ones(32)),
    ]
    assert len({intervention.fingerprint for intervention in different}) == len(different)
