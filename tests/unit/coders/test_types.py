"""What loads and trains coders refuses another type in three parts, and a coder's repr is one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from reasonmech.coders import load_coder, train_coder, train_coders
from reasonmech.errors import ArgumentError
from reasonmech.hosts import load_pair
from reasonmech.runtime import capture
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
ACTS = capture(HOST, "w1 w2 w3", "resid_post.1", progress=False)


@pytest.mark.parametrize(
    ("call", "happened"),
    [
        (lambda: load_coder(torch.ones(3)), r"source is a Tensor of shape \(3,\)"),
        (lambda: load_coder(HOST, host="coder"), "source is a Host"),
        (lambda: train_coder("topk", ACTS), "config is an Activations"),
        (lambda: train_coder(lambda: ACTS, "topk"), "acts is the function"),
        (lambda: train_coder(ACTS, 5), "config is the integer 5"),
        (lambda: train_coders(5, ["topk"]), "acts is the integer 5"),
        (lambda: load_pair(HOST), "source is a Host"),
        (lambda: load_pair(5), "source is the integer 5"),
        (lambda: load_pair("tiny-when", thinking=torch.ones(2)), r"a Tensor of shape \(2,\) is no model"),
    ],
)
def test_another_type_is_refused_in_three_parts(call: Callable[[], object], happened: str) -> None:
    with pytest.raises(ArgumentError, match=happened) as caught:
        call()
    assert caught.value.allowed


def test_a_host_that_is_none_is_refused(tmp_path) -> None:
    tiny_coder(HOST).save(tmp_path / "c")
    with pytest.raises(ArgumentError, match="host is the string 'tiny'"):
        load_coder(tmp_path / "c", host="tiny")  # pyright: ignore[reportArgumentType]


def test_reprs_are_one_line() -> None:
    for value in (HOST, tiny_coder(HOST), ACTS):
        assert "\n" not in repr(value) and "tensor" not in repr(value)
