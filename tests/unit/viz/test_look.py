"""What `look` is given by mistake is named, with the call that was meant."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reasonmech.errors import ArgumentError
from reasonmech.hosts import Host, ModelPair
from reasonmech.interventions import Direction
from reasonmech.testing import tiny_coder, tiny_host
from reasonmech.viz import look

TEXT = "w1 w2 w3"


@pytest.fixture(scope="module")
def host() -> Host:
    return tiny_host()


def refusal(*arguments: Any) -> str:
    with pytest.raises(ArgumentError) as caught:
        look(*arguments)
    assert caught.value.allowed and caught.value.do
    return str(caught.value)


def test_swapped_arguments_are_named(host: Host) -> None:
    coder = tiny_coder(host, "resid_post.1")
    assert "host is the string 'w1 w2 w3'" in refusal(TEXT, host, coder, [3])
    assert "axis is the string 'w1 w2 w3'" in refusal(host, coder, TEXT, [3])


def test_a_pair_is_no_host(host: Host) -> None:
    coder = tiny_coder(host, "resid_post.1")
    assert "pair.base" in refusal(ModelPair("p", host, host), TEXT, coder, [3])


@pytest.mark.parametrize(
    ("axis", "named"),
    [
        (torch.ones(32), "a Tensor of shape (32,)"),
        (5, "the integer 5"),
        (lambda x: x, "the function <lambda>"),
        (None, "None"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_can(host: Host, axis: Any, named: str) -> None:
    message = refusal(host, TEXT, axis)
    assert f"axis is {named}" in message and "rm.Direction.along" in message


def test_features_are_indices(host: Host) -> None:
    coder = tiny_coder(host, "resid_post.1")
    assert "features is the string '3'" in refusal(host, TEXT, coder, "3")
    assert "features[1] is the number 1.5" in refusal(host, TEXT, coder, [3, 1.5])
    busy = torch.tensor([3, 5]).numpy()
    assert look(host, TEXT, coder, busy).labels == (f"{coder.name}/3", f"{coder.name}/5")


def test_a_direction_alone_is_read(host: Host) -> None:
    direction = Direction.along(torch.ones(32), "resid_post.1")
    assert look(host, TEXT, direction).values.shape == (3, 1)
