"""Types at the door: a value of the wrong type is refused in three parts, with the right code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import reasonmech as rm
from reasonmech.errors import ArgumentError, BindError
from reasonmech.interventions import below, everywhere, inside, ramp, sentence_starts, uncertain_above
from reasonmech.interventions.edits import Steer
from reasonmech.interventions.gates import Above
from reasonmech.interventions.masks import At, Both
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
CODER = tiny_coder(HOST)
VECTOR = torch.arange(1.0, 33.0)
V = rm.Direction.along(VECTOR, "resid_post.1")
FEATURES = rm.Features(CODER, (3, 9))

AXIS = {
    "steer a tensor": (lambda: rm.steer(VECTOR, 4.0), "axis is a Tensor", r"rm\.steer\(rm\.Direction\.along"),
    "ablate a number": (lambda: rm.ablate(5), "axis is the integer 5", r"rm\.ablate\(rm\.Features"),
    "ablate a coder": (lambda: rm.ablate(CODER), "axis is a SAELensCoder", r"rm\.ablate\(rm\.Features"),
    "scale a site": (
        lambda: rm.scale("z.1", 2.0),
        "axis is the string 'z.1'",
        r"rm\.scale\(rm\.Whole",
    ),
    "clamp a class": (lambda: rm.clamp(rm.Whole, 1.0), "axis is the class Whole", "rm.clamp"),
    "gate on a tensor": (lambda: rm.above(VECTOR, 0.5), r"axis of above\(\) is a Tensor", "rm.above"),
}
AMOUNTS = {
    "a string": (lambda: rm.clamp(FEATURES, "8"), "the value of clamp is the string '8'", "torch.tensor"),
    "a list": (lambda: rm.steer(V, [1.0]), "the amount of steer is a list of 1", "torch.tensor"),
    "an array": (lambda: rm.scale(V, np.ones(1)), "the factor of scale is a ndarray", "torch.tensor"),
    "a function": (lambda: rm.steer(V, lambda: 1), "the amount of steer is the function", "torch.tensor"),
    "a truth value": (lambda: rm.ablate(V, value=True), "the value of ablate is the truth value", "torch"),
    "a string on the stream": (lambda: rm.steer(rm.Whole("z.1"), "x"), "the amount of steer is", "torch"),
    "a source": (lambda: rm.patch(V, [1.0] * 32), "the source of patch is a list of 32", "rm.capture"),
    "a source of integers": (lambda: rm.patch(V, torch.ones(32).long()), "a tensor of torch.int64", "float"),
    "a threshold": (lambda: rm.above(V, "0.5"), r"threshold of above\(\) is the string", ""),
    "a tensor as threshold": (lambda: below(V, VECTOR), r"threshold of below\(\) is a Tensor", ""),
    "a bound of a ramp": (lambda: ramp(V, None, 1.0), r"lo of ramp\(\) is None", ""),
}
MASKS = {
    "a truth value": (lambda: rm.generated() & True, "the truth value True combined with a mask", r"rm\."),
    "on the left": (lambda: 5 | rm.generated(), "the integer 5 combined with a mask", r"rm\."),
    "a gate": (lambda: rm.generated() | rm.above(V, 0.5), "an Above combined with a mask", r"rm\."),
    "a function": (lambda: Both(lambda step: step, rm.prompt()), "the function <lambda> combined", r"rm\."),
    "and": (lambda: rm.generated() and rm.prompt(), "the truth value of the mask", "write a & b"),
    "not": (lambda: not rm.generated(), "the truth value of the mask", "~a"),
    "where= a function": (lambda: rm.ablate(V, where=lambda t: t), "where is the function", r"rm\.labelled"),
    "where= a string": (lambda: rm.ablate(V, where="generated"), "where is the string", r"rm\.labelled"),
    "where= a tensor": (lambda: rm.ablate(V, where=torch.ones(3).bool()), "where is a Tensor", "labels="),
    "when= a number": (lambda: rm.ablate(V, when=0.5), "when is the number 0.5", r"rm\.above"),
    "when= a mask": (
        lambda: rm.ablate(V, when=rm.generated()),
        "when is a Generated",
        r"rm\.above",
    ),
    "a position as text": (
        lambda: rm.at("3"),
        r"positions\[0\] of at\(\) is the string '3'",
        r"rm\.at",
    ),
    "half a position": (lambda: rm.at(1.5), r"positions\[0\] of at\(\) is the number 1\.5", r"rm\.at"),
    "positions in a list": (lambda: rm.at([1, 2]), r"positions\[0\] of at\(\) is a list", r"rm\.at"),
    "rows of no positions": (
        lambda: rm.at(per_row=[1, 2]),
        r"per_row\[0\] of at\(\) is the",
        r"rm\.at",
    ),
    "a bound": (lambda: rm.prompt(start="1"), r"start of prompt\(\) is the string '1'", r"rm\.prompt"),
    "half a bound": (
        lambda: rm.generated(stop=2.5),
        r"stop of generated\(\) is the number",
        "generated",
    ),
    "a label": (lambda: rm.labelled(3), r"name of labelled\(\) is the integer 3", "labels="),
    "ends of sentences": (lambda: sentence_starts(5), "ends of sentence_starts", ""),
}
AXES = {
    "a list": (lambda: rm.Direction([1.0, 0.0], "z.1"), "the direction is a list of 2", r"Direction\.along"),
    "an array": (lambda: rm.Direction.along(np.ones(3), "z.1"), "the direction is a ndarray", "as_tensor"),
    "integers": (lambda: rm.Direction.along(torch.arange(3), "z.1"), "a tensor of torch.int64", "float"),
    "swapped": (lambda: rm.Direction("resid_post.1", V.vector), "the direction is the string", "along"),
    "no site": (lambda: rm.Direction(V.vector, 1), "site is the integer 1", ""),
    "no site of a whole": (lambda: rm.Whole(3), "site is the integer 3", ""),
    "no rows": (lambda: rm.Subspace([[1.0]], "z.1"), "the basis is a list", r"Subspace\.spanned_by"),
    "no rows to span": (lambda: rm.Subspace.spanned_by("ab", "z.1"), "the vectors of a subspace is", "stack"),
    "a path as coder": (lambda: rm.Features("coder", (1,)), "coder is the string 'coder'", r"rm\.load_coder"),
    "a tensor as coder": (lambda: rm.Features(VECTOR, (1,)), "coder is a Tensor", r"rm\.load_coder"),
    "half a feature": (lambda: rm.Features(CODER, (1.5,)), r"indices\[0\] is the number 1\.5", r"\(14, 53\)"),
    "a feature as text": (lambda: rm.Features(CODER, "14"), "indices is the string '14'", r"\(14, 53\)"),
    "a mask of features": (lambda: rm.Features(CODER, [True, False]), r"indices\[0\] is the truth", r"14"),
    "a table": (lambda: rm.Features(CODER, torch.ones(2, 2).long()), "indices is a Tensor", "14"),
}
FAMILIES = {"axis": AXIS, "amount": AMOUNTS, "mask": MASKS, "axes": AXES}
REFUSED = {f"{family}: {name}": case for family, cases in FAMILIES.items() for name, case in cases.items()}


@pytest.mark.parametrize("name", REFUSED)
def test_a_value_of_the_wrong_type_is_refused_in_three_parts(name: str) -> None:
    build, happened, do = REFUSED[name]
    with pytest.raises(ArgumentError, match=happened) as caught:
        build()
    assert caught.value.allowed
    if do:
        assert caught.value.do
        with pytest.raises(ArgumentError, match=f"(?s)Do: .*{do}"):
            build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: rm.Direction.along(torch.full((32,), torch.nan), "resid_post.1"),
        lambda: rm.Direction(torch.full((32,), torch.inf), "resid_post.1"),
        lambda: rm.Subspace(torch.full((2, 32), torch.nan), "resid_post.1"),
        lambda: rm.steer(V, float("nan")),
        lambda: rm.clamp(FEATURES, torch.tensor([1.0, torch.nan])),
        lambda: rm.patch(V, torch.full((32,), torch.nan)),
        lambda: rm.above(V, float("nan")),
        lambda: ramp(V, 0.0, float("inf")),
    ],
)
def test_numbers_that_are_not_finite_are_refused_without_printing_them(
    build: Callable[[], object],
) -> None:
    with pytest.raises(BindError, match="is not finite") as caught:
        build()
    assert "tensor(" not in str(caught.value)


def test_the_zero_vector_has_no_direction() -> None:
    with pytest.raises(BindError, match="the zero vector has no direction"):
        rm.Direction.along(torch.zeros(32), "resid_post.1")


@pytest.mark.parametrize("items", [(VECTOR,), (None,), (True,), (lambda: 1,), ([5],)])
def test_a_token_that_is_neither_word_nor_id_is_refused(items: tuple[object, ...]) -> None:
    with pytest.raises(BindError, match=r"tokens\(\) was given (?s:.)*Allowed: words, token ids"):
        rm.tokens(*items)
    with pytest.raises(BindError, match=r"inside\(\) was given"):
        inside("<think>", items[0])


def test_whole_numbers_of_numpy_and_torch_are_integers() -> None:
    assert rm.at(np.int64(3), torch.tensor(5)) == At((3, 5))
    assert rm.Features(CODER, np.array([3, 9])).indices == rm.Features(CODER, torch.tensor([3, 9])).indices
    assert rm.prompt(np.int32(1)) == rm.prompt(1)


def test_one_feature_and_one_end_are_taken_as_one() -> None:
    assert rm.Features(CODER, 3).indices == (3,)
    assert sentence_starts(".") == sentence_starts((".",))


def test_a_mask_and_an_axis_pass() -> None:
    plan = [rm.steer(V, 2, where=everywhere() & ~rm.at(0), when=Above(V, np.float32(-1e6)))]
    assert rm.forward(HOST, ["w1 w2 w3"], plan).receipt.lines[0].n_masked == 2
    assert isinstance(plan[0].edit, Steer) and uncertain_above(0.5)
