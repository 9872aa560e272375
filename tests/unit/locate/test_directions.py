"""Directions: unit vectors towards what is positive, from labelled rows or from contrastive prompts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from reasonmech.errors import ArgumentError, DataError, UnknownNameError
from reasonmech.hosts import Host
from reasonmech.locate import ContrastivePrompts, direction
from reasonmech.testing import tiny_host

POSITIVE = ("w1 w2 w3", "w4 w1", "w9 w8 w7 w6 w5", "w2 w2", "w3 w1 w4")
NEGATIVE = ("w5 w6 w7", "w8 w5", "w5 w5 w5", "w6 w9 w1 w2", "w7 w5 w8")


@pytest.fixture(scope="module")
def host() -> Host:
    return tiny_host()


def hidden(host: Host, text: str, *, layer: int, position: int) -> Tensor:
    """The stream after a block at one token, by plain Hugging Face: one text per pass, no padding."""
    ids = host.tokenizer(text, return_tensors="pt").input_ids
    with torch.no_grad():
        states = host.model(ids, output_hidden_states=True).hidden_states
    return states[layer + 1][0, position].double()


def mean_difference(host: Host, *, layer: int, position: int) -> Tensor:
    read = [
        torch.stack([hidden(host, text, layer=layer, position=position) for text in texts])
        for texts in (POSITIVE, NEGATIVE)
    ]
    return read[0].mean(0) - read[1].mean(0)


@pytest.mark.parametrize("method", ["diff_mean", "probe"])
def test_a_direction_of_labels_is_unit_and_points_at_the_signal(world, method: str) -> None:
    axis = direction(world.acts, world.labels, site="resid_post.2", method=method)
    vector = torch.as_tensor(axis.vector)
    assert vector.norm().item() == pytest.approx(1.0, abs=1e-6)
    assert vector.abs().argmax() in (world.signal, world.position_bound)
    assert vector[world.signal] > 0.3
    flipped = direction(
        world.acts, replace(world.labels, positive=~world.labels.positive), site="resid_post.2", method=method
    )
    assert torch.allclose(vector, -torch.as_tensor(flipped.vector), atol=1e-3)


def test_a_direction_needs_both_kinds_of_row(world) -> None:
    with pytest.raises(DataError, match="0 of 2400 rows"):
        direction(world.acts, replace(world.labels, positive=np.zeros(2400, bool)), site="resid_post.2")
    with pytest.raises(UnknownNameError, match="diff_mean, probe"):
        direction(world.acts, world.labels, site="resid_post.2", method="pca")


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("position", [-1, 0, 1, -2])
def test_contrastive_prompts_give_the_mean_difference_of_hidden_states(
    host: Host, layer: int, position: int
) -> None:
    expected = mean_difference(host, layer=layer, position=position)
    prompts = ContrastivePrompts(POSITIVE, NEGATIVE, position=position)
    axis = direction(host, prompts, site=f"resid_post.{layer}")
    assert expected.norm() > 1e-2
    assert torch.allclose(axis.vector.double(), expected / expected.norm(), atol=1e-5)
    assert str(axis.site) == f"resid_post.{layer}" and float(axis.vector.norm()) == pytest.approx(1, abs=1e-6)
    flipped = direction(host, ContrastivePrompts(NEGATIVE, POSITIVE, position), site=f"resid_post.{layer}")
    assert torch.allclose(flipped.vector, -axis.vector, atol=1e-5)


def test_the_last_token_is_read_unless_another_is_named(host: Host) -> None:
    last, first = (
        direction(host, ContrastivePrompts(POSITIVE, NEGATIVE, **position), site="resid_post.1").vector
        for position in ({}, {"position": 0})
    )
    assert torch.equal(
        last, direction(host, ContrastivePrompts(POSITIVE, NEGATIVE, -1), site="resid_post.1").vector
    )
    assert not torch.allclose(last, first, atol=1e-3)


def test_a_probe_on_prompts_holds_out_pairs(host: Host) -> None:
    prompts = ContrastivePrompts(POSITIVE * 3, NEGATIVE * 3)
    axis = direction(host, prompts, site="resid_post.1", method="probe")
    plain = direction(host, prompts, site="resid_post.1")
    assert float(axis.vector @ plain.vector) > 0.1 and not torch.allclose(
        axis.vector, plain.vector, atol=1e-2
    )


@pytest.mark.parametrize(
    ("positive", "negative", "error", "happened"),
    [
        ("w1 w2", ["w3"], ArgumentError, "positive is the string 'w1 w2'"),
        (["w1"], "w3", ArgumentError, "negative is the string 'w3'"),
        ([], [], DataError, "0 positive and 0 negative texts"),
        (["w1", "w2"], ["w3"], DataError, "2 positive and 1 negative texts"),
        ([torch.zeros(3)], ["w3"], ArgumentError, r"positive\[0\] is a Tensor"),
        (torch.zeros(2, 3), ["w3"], ArgumentError, "positive is a Tensor"),
    ],
)
def test_prompts_are_two_lists_of_as_many_texts(positive, negative, error, happened: str) -> None:
    with pytest.raises(error, match=happened) as caught:
        ContrastivePrompts(positive, negative)
    assert caught.value.allowed


def test_a_prompt_without_the_token_is_named(host: Host) -> None:
    with pytest.raises(DataError, match="token 4 of a text of 3 tokens: 'w1 w2 w3'") as caught:
        direction(host, ContrastivePrompts(POSITIVE, NEGATIVE, position=4), site="resid_post.1")
    assert caught.value.allowed == "-3 to 2" and "position=-1" in caught.value.do


@pytest.mark.parametrize(
    ("make", "happened"),
    [
        (lambda host, world: (host, (POSITIVE, NEGATIVE)), "contrast is a tuple of 2"),
        (lambda host, world: (host, world.labels), "contrast is a Labels"),
        (lambda host, world: (POSITIVE, NEGATIVE), "source is a tuple of 5"),
        (lambda host, world: (world.acts, ContrastivePrompts(["w1"], ["w2"])), "contrast is a Contrastive"),
        (lambda host, world: (world.acts.x, world.labels), "source is a Tensor"),
    ],
)
def test_a_source_and_its_contrast_belong_together(host: Host, world, make, happened: str) -> None:
    with pytest.raises(ArgumentError, match=happened) as caught:
        direction(*make(host, world), site="resid_post.2")
    assert caught.value.allowed and caught.value.do


def test_prompts_and_directions_print_on_one_line(host: Host) -> None:
    prompts = ContrastivePrompts(POSITIVE, NEGATIVE)
    assert repr(prompts) == "ContrastivePrompts(5 pairs, token -1)"
    assert direction(host, prompts, site="resid_post.1").name == "contrast diff_mean"
