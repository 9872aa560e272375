"""What `look` is given by mistake is named, with the call that was meant."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
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
    view = look(host, TEXT, direction)
    assert view.values.shape == (3, 1) and view.sinks == () and "beyond" not in view.fragment


@pytest.mark.parametrize("n_values", [1, 2])
def test_a_sink_does_not_decide_the_shades(n_values: int) -> None:
    host = tiny_host("llama")
    with torch.no_grad():
        host.model.get_input_embeddings().get_parameter("weight")[6] *= 1000  # w0
    axis = Direction.along(torch.ones(32), "resid_post.1")
    coder, text = tiny_coder(host, "resid_post.1"), "w0 w1 w2 w3 w4"
    strongest = look(host, text, coder, range(coder.d_sae)).values[0].argsort()[-2:].tolist()
    view = look(host, text, axis) if n_values == 1 else look(host, text, coder, strongest)
    assert view.sinks == (0,) and len(view.labels) == n_values
    others = view.values[1:]
    assert abs(view.values[0]).max() > 20 * abs(others).max()  # the number stays
    low, high = drawn_bounds(view.fragment, n_values)
    assert high == pytest.approx(others.max(0).clip(1e-7), rel=1e-4)
    assert low == pytest.approx(others.min(0).clip(max=-1e-7), rel=1e-4)
    assert "1 attention sink beyond" in view.fragment and f"{view.values[0, 0]:.3f}"[:5] in view.fragment


def drawn_bounds(page: str, n_values: int) -> tuple[list[float], list[float]]:
    """The lowest and the highest number that the page's script shades by, of each value."""
    names = ("minValue", "maxValue") if n_values == 1 else ("negativeBounds", "positiveBounds")
    script = page.split("CircuitsVis.render")[1]
    read = [re.search(rf'"{name}": ?(\[[^]]*\]|[^,}}]+)', script) for name in names]
    low, high = (np.atleast_1d(json.loads(hit[1])).tolist() for hit in read if hit)
    return low, high
