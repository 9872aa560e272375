"""A coder that is edited in place is another coder, and what reads it reads what it is now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import reasonmech as rm
from reasonmech.coders import CoderConfig, train_coder
from reasonmech.errors import BindError, OutputError
from reasonmech.hosts import Host
from reasonmech.interventions import Features, clamp, steer
from reasonmech.runtime import capture, forward
from reasonmech.testing import tiny_coder, tiny_host

TEXTS = ["w1 w2 . w3", "w9 w1 w22 w4"]


def decoder(sae: Any) -> None:
    sae.W_dec.data *= 2


def encoder(sae: Any) -> None:
    sae.W_enc.data[:, 3] += 1.0


def bias(sae: Any) -> None:
    sae.b_enc.data[3] += 5.0


def k(sae: Any) -> None:
    sae.activation_fn.k = 1


def setting(sae: Any) -> None:
    sae.cfg.rescale_acts_by_decoder_norm = True
    sae.W_dec.data *= 3


def hook(sae: Any) -> None:
    sae.add_perma_hook("hook_sae_acts_post", lambda acts, hook: acts * 2)


def activation(sae: Any) -> None:
    sae.activation_fn = nn.ReLU()


EDITS = [decoder, encoder, bias, k, setting, hook]


def numpy_edit(sae: Any) -> None:
    sae.W_dec.data.numpy()[3] *= 2


@pytest.mark.parametrize("edit", [*EDITS, activation, numpy_edit], ids=lambda edit: edit.__name__)
def test_a_coder_that_was_edited_is_another_one(edit: Callable[[Any], None]) -> None:
    coder: Any = tiny_coder(tiny_host())
    before, features = coder.weight_hash, Features(coder, (3, 5))
    plan = features.to_json()
    assert coder.weight_hash == before
    edit(coder.sae)
    assert coder.weight_hash != before and features.to_json() != plan


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("kind", ["topk", "jumprelu", "standard"])
def test_features_made_before_read_and_write_what_the_coder_is_now(
    edit: Callable[[Any], None], kind: str
) -> None:
    if kind != "topk" and edit in (k, setting):
        pytest.skip("a setting of topk")
    host = tiny_host()
    coder = tiny_coder(host) if kind == "topk" else small(host, kind)
    features, x = Features(coder, (3, 5)), torch.randn(6, 32, generator=torch.Generator().manual_seed(0)) * 3
    plan = [clamp(features, 9.0), steer(features, 2.0)]
    features.read(x), features.rows, features.write(torch.ones(6, 2)), coder.read(x, [3, 5])
    before = forward(host, TEXTS, plan).logits[0]
    edit(coder.sae)
    # what a coder that is made anew of the same parts would do
    assert torch.allclose(features.read(x), coder.encode(x)[:, [3, 5]], atol=1e-5)
    assert torch.equal(features.rows, coder.rows([3, 5]).detach())
    assert torch.allclose(features.write(torch.ones(6, 2)), coder.rows([3, 5]).detach().sum(0).expand(6, 32))
    fresh = [clamp(Features(coder, (3, 5)), 9.0), steer(Features(coder, (3, 5)), 2.0)]
    after, expected = (forward(host, TEXTS, each).logits[0] for each in (plan, fresh))
    assert torch.equal(after, expected)
    if edit is decoder:
        assert not torch.equal(after, before)


def small(host: Host, architecture: str) -> Any:
    acts = capture(host, TEXTS * 8, ["resid_post.1"], progress=False)
    config = CoderConfig(architecture=architecture, d_sae=16, steps=2, batch_size=32)
    return train_coder(acts, config, site="resid_post.1", progress=False)


def test_a_sweep_of_an_edited_coder_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    host = tiny_host()
    coder: Any = tiny_coder(host)
    metric = rm.metrics.logit_diff(host, good="w1", bad="w2")

    def sweep() -> list[float]:
        plans = rm.sweeps.grid({"f": Features(coder, (3,))}, "clamp", amounts=(9.0,))
        done = rm.sweep(host, TEXTS, plans, metric=metric, out=tmp_path / "sweep", progress=False)
        return done.table["value"].tolist()

    sweep()
    decoder(coder.sae)
    with pytest.raises(OutputError):
        sweep()


def test_a_copy_elsewhere_keeps_its_own_numbers() -> None:
    coder: Any = tiny_coder(tiny_host())
    copy, before = coder.to(dtype=torch.float32), coder.weight_hash
    decoder(coder.sae)
    assert copy.weight_hash == before != coder.weight_hash


def test_codes_under_autocast_are_refused() -> None:
    coder, x = tiny_coder(tiny_host()), torch.ones(2, 32)
    calls = (
        lambda: coder.encode(x),
        lambda: coder.read(x, [3]),
        lambda: coder.decode(torch.ones(2, 64)),
    )
    for call in calls:
        with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(BindError, match="autocast"):
            call()
