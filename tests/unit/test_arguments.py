"""Arguments: a value is described in a few words, one thing is taken as one, and anything else is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from reasonmech.arguments import as_sequence, check_type, describe
from reasonmech.door import checked
from reasonmech.errors import ArgumentError
from reasonmech.site import Site


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.zeros(64), "a Tensor of shape (64,)"),
        (np.zeros((2, 3)), "a ndarray of shape (2, 3)"),
        ("w1", "the string 'w1'"),
        (True, "the truth value True"),
        (4.0, "the number 4.0"),
        (5, "the integer 5"),
        (None, "None"),
        (lambda x: x, "the function <lambda>"),
        (dict, "the class dict"),
        ([1, 2], "a list of 2"),
        (Site("resid_post", 1), "a Site"),
        (ValueError(), "a ValueError"),
    ],
)
def test_a_value_is_described_in_a_few_words(value: object, words: str) -> None:
    assert describe(value) == words


def test_a_long_string_is_cut_short() -> None:
    assert len(describe("w" * 1000)) < 70


def test_one_text_is_one_text_and_never_its_characters() -> None:
    assert as_sequence("Hello", str, name="texts", allowed="texts") == ["Hello"]
    assert as_sequence(("a", "b"), str, name="texts", allowed="texts") == ("a", "b")


@pytest.mark.parametrize("value", [5, torch.zeros(2), None, iter(["a"]), {"a"}])
def test_what_is_no_sequence_is_refused(value: object) -> None:
    with pytest.raises(ArgumentError, match="texts is "):
        as_sequence(value, str, name="texts", allowed="texts")  # type: ignore[arg-type]


def test_a_wrong_element_is_named_by_its_index() -> None:
    with pytest.raises(ArgumentError, match=r"texts\[1\] is the integer 3"):
        as_sequence(["a", 3], str, name="texts", allowed="texts")  # type: ignore[list-item]


def test_a_string_is_no_sequence_of_other_things() -> None:
    with pytest.raises(ArgumentError, match="rollouts is the string 'abc'"):
        as_sequence("abc", int, name="rollouts", allowed="rollouts")  # type: ignore[arg-type]


def test_an_error_says_what_is_allowed_and_what_to_do_and_is_a_type_error() -> None:
    with pytest.raises(
        TypeError, match=r"(?s)axis is a Tensor of shape .*Allowed: a Direction.*Do: Direction"
    ):
        check_type(
            torch.zeros(3), str, name="axis", allowed="a Direction", do='Direction.along(x, "resid_post.1")'
        )


SITE = Site("resid_post", 1)  # a named tuple: a value, not three of them


@checked
def one_or_several(sites: Sequence[Site | str] | Site | str, names: Sequence[str] = ()) -> object:
    return sites


@checked
def several(sites: Sequence[Site | str], names: Sequence[str] = ()) -> object:
    return sites


def test_a_named_tuple_is_one_value_at_the_door() -> None:
    assert one_or_several(SITE) is SITE and one_or_several(sites=SITE) is SITE
    assert one_or_several([SITE, "resid_post.2"]) == [SITE, "resid_post.2"] == several([SITE, "resid_post.2"])
    with pytest.raises(ArgumentError, match=r"names\[1\] is the integer 2"):
        one_or_several(SITE, names=("a", 2))  # type: ignore[arg-type]
