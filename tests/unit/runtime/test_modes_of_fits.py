"""Fits and gradients: the caller's torch modes and random state neither change them nor are changed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import reasonmech as rm
from reasonmech.causal import TextPairs, attribute
from reasonmech.coders import CoderConfig
from reasonmech.errors import BindError
from reasonmech.hybrid import VectorConfig, train_vectors
from reasonmech.metrics import logit_diff
from reasonmech.runtime import capture
from reasonmech.testing import tiny_coder, tiny_host
from tests.unit.hybrid.test_kinds_of_any_task import DECODE, KINDS, PAIR, PROMPTS

TEXTS = ["w1 w2 . w3 w9", "w5 w4 w8", "w1 w1 w4", "w2 . w2 w20"]
OTHERS = ["w1 w7 . w3 w9", "w6 w4 w8", "w1 w2 w4", "w2 . w3 w20"]
HOST = tiny_host()
CODER = tiny_coder(HOST)
ROLLOUTS = rm.generate(PAIR.thinking, PROMPTS, decode=DECODE, progress=False)


def coder(architecture: str) -> Tensor:
    acts = capture(HOST, TEXTS * 8, ["resid_post.1"], progress=False)
    settings: dict[str, Any] = {} if architecture in ("standard", "jumprelu") else {"k": 2}
    config = CoderConfig(architecture=architecture, d_sae=16, steps=4, batch_size=32, **settings)
    fitted: Any = rm.train_coder(acts, config, site="resid_post.1", progress=False)
    return fitted.sae.W_dec.detach().clone()


def vectors() -> Tensor:
    config = VectorConfig(steps=5, min_count=1, batch_rollouts=4)
    trained = train_vectors(PAIR.base, "resid_post.1", ROLLOUTS, kinds=KINDS, config=config, progress=False)
    return trained.vectors.table.clone()


def attribution() -> Tensor:
    metric = logit_diff(HOST, good="w7", bad="w8")
    table = attribute(HOST, TextPairs(TEXTS, OTHERS), CODER, metric=metric).table
    return torch.tensor(table["effect"].tolist())


FITS: dict[str, Callable[[], Tensor]] = {
    "topk": lambda: coder("topk"),
    "batchtopk": lambda: coder("batchtopk"),
    "standard": lambda: coder("standard"),
    "jumprelu": lambda: coder("jumprelu"),
    "vectors": vectors,
    "attribution": attribution,
}


@pytest.mark.parametrize("name", FITS)
@pytest.mark.filterwarnings("ignore:.*zero-element")
def test_modes_of_the_caller_change_no_fit(name: str) -> None:
    plain = FITS[name]()
    with torch.inference_mode(), pytest.raises(BindError, match="inference_mode"):
        FITS[name]()
    assert torch.is_grad_enabled()
    with torch.no_grad():
        assert torch.equal(FITS[name](), plain)
    torch.set_default_dtype(torch.float64)
    try:
        if name in ("vectors", "attribution"):
            assert torch.equal(FITS[name]().to(plain), plain)
        else:
            with pytest.raises(BindError, match="default_dtype"):
                FITS[name]()
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(BindError, match="autocast"):
        FITS[name]()


@pytest.mark.parametrize("name", FITS)
def test_the_random_state_of_the_caller_is_neither_used_nor_moved_by_a_fit(name: str) -> None:
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        results.append(FITS[name]())
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert np.random.get_state()[1].tolist() == before[2]
    assert torch.equal(*results)
