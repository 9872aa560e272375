"""The runtime against nnsight and pyvene, bit for bit, where they are installed (`make peers`)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

import reasonmech as rm
from reasonmech.runtime.forward import forward
from reasonmech.testing import tiny_coder, tiny_host

TEXTS = ["w1 w2 . w3", "w9 w1 w22 w4"]
OTHERS = ["w7 w8 w9 .", "w3 w3 w30 w31"]
SITE = "resid_post.1"
V = 5 * torch.randn(32, generator=torch.Generator().manual_seed(0))
N_NEW = 8


@pytest.fixture(scope="module", autouse=True)
def backward_of_torch() -> Iterator[None]:
    """nnsight replaces `Tensor.backward` for the whole process: later tests get torch's own back."""
    plain = torch.Tensor.backward
    yield
    torch.Tensor.backward = plain  # type: ignore[method-assign]


def peer(name: str) -> Any:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed: equality with it is NOT tested here; make peers")
    return importlib.import_module(name)


def batch(host: rm.hosts.Host, texts: list[str]) -> dict[str, Tensor]:
    ids = torch.tensor([host.encode(text) for text in texts])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def ours(host: rm.hosts.Host, plan: list[rm.Intervention]) -> Tensor:
    return torch.stack(forward(host, TEXTS, plan).logits)


def written(host: rm.hosts.Host, plan: list[rm.Intervention]) -> list[list[int]]:
    rollouts = rm.generate(host, TEXTS, plan, decode=rm.Decode(max_new_tokens=N_NEW), progress=False)
    return [list(rollout.ids) for rollout in rollouts]


def until_end(rows: Tensor, host: rm.hosts.Host) -> list[list[int]]:
    """What Hugging Face's loop wrote, each row up to its end-of-sequence."""
    ours_now = []
    for row in rows[:, len(host.encode(TEXTS[0])) :].tolist():
        ends = [i for i, token in enumerate(row) if token in host.eos_ids]
        ours_now.append(row[: ends[0] + 1] if ends else row)
    return ours_now


def streams(host: rm.hosts.Host, texts: list[str]) -> Tensor:
    """[row, pos, d_model] at SITE."""
    return rm.capture(host, texts, [SITE], progress=False).at(SITE).reshape(len(texts), -1, host.d_model)


# nnsight: a model is wrapped, and what is written inside a trace replaces what a module returned.


def wrapped(host: rm.hosts.Host) -> Any:
    return peer("nnsight").TransformersModel(host.model, tokenizer=host.tokenizer, task="text-generation")


def test_a_captured_stream_is_nnsights() -> None:
    host = tiny_host()
    model = wrapped(tiny_host())
    with torch.no_grad(), model.trace(batch(host, TEXTS)):
        seen = model.model.layers[1].output.save()
    assert float(seen.abs().max()) > 0
    assert torch.equal(streams(host, TEXTS), seen)


def test_steering_is_nnsights_assignment() -> None:
    host, model = tiny_host(), wrapped(tiny_host())
    with torch.no_grad(), model.trace(batch(host, TEXTS)):
        model.model.layers[1].output = model.model.layers[1].output + V
        theirs = model.output.logits.save()
    assert not torch.allclose(theirs, ours(host, []))
    assert torch.equal(ours(host, [rm.steer(rm.Whole(SITE), V)]), theirs)


def test_patching_one_position_is_nnsights_assignment_to_a_slice() -> None:
    host, model, source = tiny_host(), wrapped(tiny_host()), streams(tiny_host(), OTHERS)
    with torch.no_grad(), model.trace(batch(host, TEXTS)):
        stream = model.model.layers[1].output.clone()
        stream[:, 2] = source[:, 2]
        model.model.layers[1].output = stream
        theirs = model.output.logits.save()
    assert not torch.allclose(theirs, ours(host, []))
    assert torch.equal(ours(host, [rm.patch(rm.Whole(SITE), source, where=rm.prompt(2, 3))]), theirs)


def test_steered_generation_is_nnsights_loop_over_steps() -> None:
    host, model = tiny_host(), wrapped(tiny_host())
    with torch.no_grad(), model.generate(batch(host, TEXTS), max_new_tokens=N_NEW, do_sample=False) as tracer:
        for _ in tracer.iter[:N_NEW]:
            model.model.layers[1].output = model.model.layers[1].output + V
        theirs = tracer.result.save()
    ours_now = written(host, [rm.steer(rm.Whole(SITE), V)])
    assert ours_now != written(host, [])
    assert ours_now == until_end(theirs, host)


# pyvene: interchange interventions, declared by layer, component and unit.


def intervenable(host: rm.hosts.Host, kind: str, **settings: Any) -> Any:
    pyvene = peer("pyvene")
    place = pyvene.RepresentationConfig(1, "block_output", "pos", **settings)
    return pyvene.IntervenableModel(
        pyvene.IntervenableConfig([place], intervention_types=pyvene.__dict__[kind]), model=host.model
    )


def test_patching_is_pyvenes_interchange() -> None:
    host = tiny_host()
    model = intervenable(tiny_host(), "VanillaIntervention")
    with torch.no_grad():
        _, out = model(batch(host, TEXTS), [batch(host, OTHERS)], {"sources->base": 2})
    assert not torch.allclose(out.logits, ours(host, []))
    plan = [rm.patch(rm.Whole(SITE), streams(host, OTHERS), where=rm.prompt(2, 3))]
    assert torch.equal(ours(host, plan), out.logits)


def test_subspace_patching_is_pyvenes_low_rank_rotation() -> None:
    """Distributed alignment search (Geiger et al. 2023): base + (source - base) R R^T."""
    host = tiny_host()
    model = intervenable(tiny_host(), "LowRankRotatedSpaceIntervention", low_rank_dimension=1)
    rotation = next(iter(model.interventions.values())).rotate_layer.weight.detach()
    with torch.no_grad():
        _, out = model(batch(host, TEXTS), [batch(host, OTHERS)], {"sources->base": 2})
    assert not torch.allclose(out.logits, ours(host, []), atol=1e-2)
    axis = rm.Direction(rotation[:, 0], SITE)
    ours_now = ours(host, [rm.patch(axis, streams(host, OTHERS), where=rm.prompt(2, 3))])
    # one matrix product there, one scalar product here
    assert (ours_now - out.logits).abs().max() <= 1e-5 * out.logits.abs().max()


def test_steering_is_pyvenes_addition_over_prompt_and_answer() -> None:
    host = tiny_host()
    added = {"source_representation": V[None, None]}
    model = intervenable(tiny_host(), "AdditionIntervention", max_number_of_units=4, **added)
    with torch.no_grad():
        _, out = model(batch(host, TEXTS), None, {"base": [[[0, 1, 2, 3]] * 2]})
    assert not torch.allclose(out.logits, ours(host, []))
    assert torch.equal(ours(host, [rm.steer(rm.Whole(SITE), V)]), out.logits)


@pytest.mark.parametrize(
    ("where", "settings"),
    [
        (rm.generated(), {"intervene_on_prompt": False}),
        (rm.prompt(start=-1), {"intervene_on_prompt": True, "unit_locations": {"base": [[[3]] * 2]}}),
    ],
    ids=["answer", "last prompt token"],
)
def test_steered_generation_is_pyvenes(where: rm.Where, settings: dict[str, Any]) -> None:
    host = tiny_host()
    model = intervenable(
        tiny_host(), "AdditionIntervention", max_number_of_units=1, source_representation=V[None, None]
    )
    with torch.no_grad():
        _, theirs = model.generate(
            batch(host, TEXTS), max_new_tokens=N_NEW, do_sample=False, pad_token_id=host.pad_id, **settings
        )
    ours_now = written(host, [rm.steer(rm.Whole(SITE), V, where=where)])
    assert ours_now != written(host, [])
    assert ours_now == until_end(theirs, host)


def test_a_feature_patch_without_its_error_is_pyvenes_autoencoder_interchange() -> None:
    """pyvene decodes the mixed latents and so drops the coder's error: error="drop" here."""
    host, others = tiny_host(), streams(tiny_host(), OTHERS)
    coder = tiny_coder(host)
    model = intervenable(tiny_host(), "JumpReLUAutoencoderIntervention", low_rank_dimension=coder.d_sae)
    theirs = next(iter(model.interventions.values()))
    theirs.encode, theirs.decode = coder.encode, coder.decode
    theirs.set_interchange_dim(9)
    with torch.no_grad():
        _, out = model(batch(host, TEXTS), [batch(host, OTHERS)], {"sources->base": 2})
    features = rm.Features(coder, tuple(range(9)))
    ours_now = ours(host, [rm.patch(features, others, error="drop", where=rm.prompt(2, 3))])
    kept = ours(host, [rm.patch(features, others, where=rm.prompt(2, 3))])
    assert not torch.allclose(ours_now, kept, atol=1e-2) and not torch.allclose(
        ours_now, ours(host, []), atol=1e-2
    )
    assert (ours_now - out.logits).abs().max() <= 1e-5 * out.logits.abs().max()
