"""Arguments of a wrong kind that only an attempt to use them shows: refused in three parts, at the door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import reasonmech as rm
from reasonmech.errors import ArgumentError, DataError
from reasonmech.testing import tiny_coder, tiny_host

TEXTS = ["w1 w2 w3", "w4 w5"]
CODER = rm.CoderConfig(architecture="topk", d_sae=8, k=2, steps=2, batch_size=4)


def column(values: Callable[[int], Any]) -> object:
    host = tiny_host()

    def columns(number: int, _: object) -> dict[str, Any]:
        return {"c": values(len(host.encode(TEXTS[number])))}

    return rm.capture(host, TEXTS, ["resid_post.1"], keep=rm.Keep(columns=columns), progress=False)


@pytest.mark.parametrize(
    "call",
    [
        lambda: rm.train_coder(torch.randn(64, 32), CODER, site="resid_post.1", host="x", progress=False),  # pyright: ignore
        lambda: rm.TextPairs(TEXTS, TEXTS, problems=object()),  # pyright: ignore
        lambda: rm.TextPairs(TEXTS, TEXTS, problems=[1, 2]),  # pyright: ignore
        lambda: rm.TextPairs(TEXTS, TEXTS, problems="ab"),
        lambda: rm.load_pair("tiny-when", accept=object()),  # pyright: ignore
        lambda: rm.load_pair("tiny-when", accept="padding"),
        lambda: rm.load_pair("tiny-when", accept=[3]),  # pyright: ignore
        lambda: rm.load_pair("tiny-when", accept=np.array("padding")),  # pyright: ignore
        lambda: rm.load_host("organism:tiny-when/base", device=np.zeros(3)),  # pyright: ignore
        lambda: rm.load_pair("tiny-when", device=np.zeros(3)),  # pyright: ignore
        lambda: rm.Features(tiny_coder(tiny_host(), "resid_post.1"), np.array("w1")),  # pyright: ignore
        lambda: rm.at(per_row=np.array("w1")),  # pyright: ignore
        lambda: rm.at(per_row=[np.array(3)]),  # pyright: ignore
        lambda: column(lambda n: np.ones((n, 1), dtype=bool)),
        lambda: column(lambda n: np.array(True)),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(call: Callable[[], object]) -> None:
    with pytest.raises((ArgumentError, DataError)) as caught:
        call()
    assert caught.value.allowed
