"""steering-vectors and repeng by their definitions: both need an older transformers or numpy than the pinned
ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

import reasonmech as rm
from reasonmech.labels import Labels
from reasonmech.runtime.forward import forward
from reasonmech.testing import tiny_host

TEXTS = ["w1 w2 . w3", "w9 w1 w22 w4"]
SITE = "resid_post.1"
V = 5 * torch.randn(32, generator=torch.Generator().manual_seed(0))
UNIT = rm.Direction.along(V, SITE)
Operator = Callable[[Tensor, Tensor], Tensor]


@contextmanager
def hooked(host: rm.hosts.Host, edit: Callable[[Tensor], Tensor]):
    """A plain hook on the second block's output, as both libraries install one."""
    handle = host.model.get_submodule("model.layers.1").register_forward_hook(
        lambda module, args, out: edit(out)
    )
    try:
        yield
    finally:
        handle.remove()


def logits(host: rm.hosts.Host, texts: list[str] = TEXTS, **inputs: Tensor) -> Tensor:
    ids = torch.tensor([host.encode(text) for text in texts])
    with torch.no_grad():
        return host.model(ids, use_cache=False, **inputs).logits


def ours(host: rm.hosts.Host, *plan: rm.Intervention) -> Tensor:
    return torch.stack(forward(host, TEXTS, plan).logits)


# steering_vectors.steering_operators: what is added is operator(activation, multiplier * vector).


def addition(x: Tensor, vector: Tensor) -> Tensor:
    return vector


def ablation(x: Tensor, vector: Tensor) -> Tensor:
    unit = vector / vector.norm()
    return -unit * (x @ unit)[..., None]


def ablation_then_addition(x: Tensor, vector: Tensor) -> Tensor:
    return ablation(x, vector) + vector


OPERATORS = {
    "addition": (addition, lambda where: [rm.steer(rm.Whole(SITE), 2 * V, where=where)]),
    "along its direction": (addition, lambda where: [rm.steer(UNIT, 2 * float(V.norm()), where=where)]),
    "ablation": (ablation, lambda where: [rm.ablate(UNIT, where=where)]),
    "ablation then addition": (
        ablation_then_addition,
        lambda where: [rm.clamp(UNIT, 2 * float(V.norm()), where=where)],
    ),
}


@pytest.mark.parametrize("min_token_index", [0, 2])
@pytest.mark.parametrize("name", OPERATORS)
def test_verbs_are_the_operators_of_steering_vectors(name: str, min_token_index: int) -> None:
    host, (operator, plan) = tiny_host(), OPERATORS[name]

    def edit(x: Tensor) -> Tensor:
        mask = torch.ones(x.shape[1])
        mask[:min_token_index] = 0
        return x + mask[:, None] * operator(x, 2 * V)

    with hooked(host, edit):
        theirs = logits(host)
    result = ours(host, *plan(rm.prompt(min_token_index)))
    assert not torch.allclose(theirs, logits(host), atol=1e-2)
    assert (result - theirs).abs().max() <= 1e-5 * theirs.abs().max()  # a norm is taken and multiplied back


def test_diff_mean_is_the_mean_aggregator_of_steering_vectors() -> None:
    """vector = mean over pairs of (positive - negative), read at each text's last token."""
    host = tiny_host()
    texts = ["w1 w2 w3", "w4 w5 w6", "w1 w2 w30", "w4 w5 w36"]
    acts = rm.capture(host, texts, [SITE], progress=False)
    x = acts.at(SITE).reshape(4, 3, -1)[:, -1]
    theirs = (x[:2] - x[2:]).mean(0)
    labels = Labels(
        behaviour="pairs",
        mode="recognises",
        rollout=np.arange(4),
        position=np.full(4, 2),
        positive=np.array([True, True, False, False]),
        problem=np.array([f"text/{i}" for i in range(4)], dtype=object),
    )
    result = rm.direction(acts, labels, site=SITE)
    assert float(theirs.norm()) > 0
    torch.testing.assert_close(
        result.vector, theirs / theirs.norm(), atol=1e-6, rtol=0
    )  # float64 there, float32 here


def test_in_cached_decoding_the_masks_of_steering_vectors_count_columns_of_a_pass_and_ours_the_text() -> None:
    """min_token_index=2 leaves every single-column step alone there; a mask here names tokens of the text."""
    host = tiny_host()

    def edit(x: Tensor) -> Tensor:
        mask = torch.ones(x.shape[1])
        mask[:2] = 0
        return x + mask[:, None] * V

    decode = rm.Decode(max_new_tokens=6)
    with hooked(host, edit):
        theirs = [list(r.ids) for r in rm.generate(host, TEXTS, decode=decode, progress=False)]
    as_they_do = rm.generate(host, TEXTS, [rm.steer(rm.Whole(SITE), V, where=rm.prompt(2))], decode=decode)
    all_of_it = rm.generate(
        host, TEXTS, [rm.steer(rm.Whole(SITE), V, where=rm.prompt(2) | rm.generated())], decode=decode
    )
    assert theirs == [list(r.ids) for r in as_they_do]
    assert theirs != [list(r.ids) for r in all_of_it]


# repeng.control.ControlModule: x + coeff * direction from the row's first real token on.


def test_steering_is_the_control_of_repeng_on_a_padded_batch() -> None:
    host = tiny_host()
    texts = ["w1 w2 . w3", "w22 w4"]
    ids = torch.tensor([host.encode(texts[0]), [host.pad_id] * 2 + host.encode(texts[1])])
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    position = (mask.cumsum(-1) - 1).clamp_min(0)

    def edit(x: Tensor) -> Tensor:
        first = (position == 0).cumsum(1).argmax(1, keepdim=True)
        real = (torch.arange(4) >= first).float()[..., None]
        return x + 8.0 * UNIT.vector * real

    with torch.no_grad(), hooked(host, edit):
        theirs = host.model(ids, attention_mask=mask, position_ids=position, use_cache=False).logits
    plan = [rm.steer(UNIT, 8.0)]
    for row, (clean, result) in enumerate(
        zip(forward(host, texts).logits, forward(host, texts, plan).logits, strict=True)
    ):
        unpadded = theirs[row, 4 - len(result) :]
        assert not torch.allclose(unpadded, clean, atol=1e-2)
        assert (result - unpadded).abs().max() <= 1e-5 * unpadded.abs().max()


def test_a_direction_takes_the_principal_component_of_repeng() -> None:
    """pca_diff: first component of the centred differences within pairs, signed so that positives lie
    higher."""
    host = tiny_host()
    random = torch.Generator().manual_seed(3)
    words = torch.randint(0, 40, (24,), generator=random).tolist()
    texts = [f"w{w} {mood}" for w in words for mood in ("w50", "w51")]
    x = rm.capture(host, texts, [SITE], progress=False).at(SITE).reshape(len(texts), 2, -1)[:, -1]
    train = x[::2] - x[1::2]
    component = torch.linalg.svd(train - train.mean(0)).Vh[0]
    higher = (x[::2] @ component > x[1::2] @ component).float().mean()
    component = component if higher >= 0.5 else -component
    direction = rm.Direction(component, SITE, name="pca_diff")

    with hooked(host, lambda stream: stream + -4.0 * component):
        theirs = logits(host)
    assert not torch.allclose(theirs, logits(host), atol=1e-2)
    assert torch.equal(ours(host, rm.steer(direction, -4.0)), theirs)
