"""TextPairs: what counts as a text and a position, and what questions about pairs refuse at the door."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import reasonmech as rm
from reasonmech.causal import CoderSet, FeatureGroups, IntegratedGradients, TextPairs
from reasonmech.causal.aligned_pairs import align
from reasonmech.errors import ArgumentError, DataError, UnknownNameError
from reasonmech.metrics import accuracy, logit_diff, metrics
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
METRIC = logit_diff(HOST, "w7", "w8")
CLEAN, CORRUPT = ["w1 w2 w3", "w4 w5", "w6 w9"], ["w1 w3 w3", "w4 w4", "w7 w9"]
PAIRS = TextPairs(CLEAN, CORRUPT)
CODER = tiny_coder(HOST, "resid_post.1")


def rollout(problem: str, text: str) -> Rollout:
    ids = tuple(HOST.encode(text))
    nobody = (False,) * (len(ids) - 1)
    return Rollout(Problem(problem, "", ""), 0, ids[:1], ids[1:], nobody, nobody, "length", "")


def test_one_text_is_one_pair_and_never_its_characters() -> None:
    one = TextPairs("w1 w2", "w1 w3")
    assert len(one) == 1
    ids = TextPairs(HOST.encode("w1 w2"), HOST.encode("w1 w3"))
    assert len(ids) == 1 and align(HOST, ids).clean[0].ids == align(HOST, one).clean[0].ids
    assert len(TextPairs(rollout("p", "w1 w2"), rollout("p", "w1 w3"))) == 1
    grid = rm.patch_grid(HOST, one, "resid_post.1", metric=METRIC)
    assert len(grid.table) == 2


def test_one_site_one_coder_one_error_treatment_and_one_position_are_one() -> None:
    assert rm.patch_grid(HOST, PAIRS, "resid_post.1", metric=METRIC).table.equals(
        rm.patch_grid(HOST, PAIRS, ["resid_post.1"], metric=METRIC).table
    )
    assert rm.attribute(HOST, PAIRS, CODER, metric=METRIC).table.equals(
        rm.attribute(HOST, PAIRS, [CODER], metric=METRIC).table
    )
    assert FeatureGroups(CODER, [1], error="drop").errors == ("drop",)
    assert FeatureGroups(CODER, list(np.arange(2))).named == {"group": (0, 1)}
    assert PAIRS.at(-1).named_positions == PAIRS.at([-1]).named_positions == {"-1": ((-1, -1),) * 3}


def test_a_number_under_a_name_is_the_position_in_all_pairs_and_entries_say_it_pair_by_pair() -> None:
    pairs = PAIRS.at({"end": -1, "mixed": [0, (1, 0), [0, 1]], "array": list(np.arange(3) % 2)})
    assert pairs.named_positions == {
        "end": ((-1, -1),) * 3,
        "mixed": ((0, 0), (1, 0), (0, 1)),
        "array": ((0, 0), (1, 1), (0, 0)),
    }
    places = align(HOST, pairs).places
    assert [place.clean for place in places[1]] == [1, 1, 1] and [p.corrupt for p in places[1]] == [1, 0, 1]


def test_a_slice_keeps_positions_and_problems_and_a_repr_is_one_line() -> None:
    pairs = replace(
        PAIRS, positions={"a": [0, 1, -1], "end": -1}, problems=["p", "p", "q"], direction="noise"
    )
    rest = pairs[1:]
    assert (rest.clean, rest.corrupt) == (tuple(CLEAN[1:]), tuple(CORRUPT[1:]))
    assert rest.named_positions == {"a": ((1, 1), (-1, -1)), "end": ((-1, -1),) * 2}
    assert (rest.problem_ids, rest.direction) == (("p", "q"), "noise")
    assert repr(rest) == "TextPairs(2 pairs, positions a, end, noise)"
    assert repr(PAIRS) == "TextPairs(3 pairs, every position, denoise)"


def test_problems_are_those_of_rollouts_or_those_that_are_named() -> None:
    of_rollouts = TextPairs([rollout("p", text) for text in CLEAN], CORRUPT)
    assert of_rollouts.problem_ids == ("p", "p", "p") and PAIRS.problem_ids == ("text 0", "text 1", "text 2")
    named = replace(PAIRS, problems=["p", "p", "q"])
    grid = rm.patch_grid(HOST, named.at(-1), "resid_post.1", metric=METRIC)
    assert grid.mean["n_problems"].tolist() == [2] and list(grid.table["problem"]) == ["p", "p", "q"]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: TextPairs(torch.zeros(3), CORRUPT), ArgumentError, "clean is a Tensor"),
        (lambda: TextPairs(CLEAN, HOST), ArgumentError, "corrupt is a Host"),
        (lambda: TextPairs(HOST, CLEAN), ArgumentError, "clean is a Host"),
        (lambda: TextPairs([*CLEAN[:2], 5], CORRUPT), ArgumentError, r"clean\[2\] is the integer 5"),
        (lambda: align(HOST, TextPairs([[1.5, 2.0]], CORRUPT[:1])), ArgumentError, "text 0 is a list of 2"),
        (lambda: TextPairs([], []), DataError, "0 clean and 0 corrupt"),
        (lambda: TextPairs("w1 w2 w3", CORRUPT), DataError, "1 clean and 3 corrupt"),
        (lambda: TextPairs(CLEAN, CORRUPT, direction="both"), UnknownNameError, "denoise, noise"),
        (lambda: TextPairs(CLEAN, CORRUPT, problems=["p"]), DataError, "1 problems for 3 pairs"),
        (lambda: PAIRS.at("had"), ArgumentError, "positions is the string 'had'"),
        (lambda: PAIRS.at(["had"]), ArgumentError, r"positions\[0\] is the string 'had'"),
        (lambda: PAIRS.at(torch.tensor([1])), ArgumentError, "positions is a Tensor"),
        (lambda: PAIRS.at([1.5]), ArgumentError, r"positions\[0\] is the number 1.5"),
        (lambda: PAIRS.at({-1: [0, 0, 0]}), ArgumentError, "a position is named the integer -1"),
        (lambda: PAIRS.at({"had": "w3"}), ArgumentError, "position 'had' is the string 'w3'"),
        (lambda: PAIRS.at({"had": [0, "w3", 0]}), ArgumentError, "has the entry the string 'w3'"),
        (lambda: PAIRS.at({"had": [0, (1, 2, 3), 0]}), ArgumentError, "has the entry a tuple of 3"),
        (lambda: PAIRS.at({"had": [0, 0]}), DataError, "2 entries for 3 pairs"),
        (lambda: PAIRS.at([]), DataError, "no position"),
        (lambda: PAIRS[0], ArgumentError, r"pairs\[:1\]"),
    ],
)
def test_what_is_no_pair_of_texts_is_refused_when_it_is_made(make, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make()


CALLS = {
    "patch_grid": lambda host, pairs, metric: rm.patch_grid(host, pairs, "resid_post.1", metric=metric),
    "effects": lambda host, pairs, metric: rm.causal.effects(
        host, pairs, rm.Whole("mlp_out.1"), metric=metric
    ),
    "attribute": lambda host, pairs, metric: rm.attribute(host, pairs, CODER, metric=metric),
    "faithfulness": lambda host, pairs, metric: rm.causal.faithfulness(
        host, pairs, rm.Features(CODER, (1, 2)), metric=metric
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_host_pairs_and_metric_of_the_wrong_type_are_refused_with_the_right_call(call) -> None:
    with pytest.raises(ArgumentError, match=r"host is a TextPairs(?s:.*)f\(host, rm.TextPairs"):
        call(PAIRS, HOST, METRIC)
    with pytest.raises(ArgumentError, match=r"pairs is a list of 3(?s:.*)rm.TextPairs\(clean, corrupt"):
        call(HOST, CLEAN, METRIC)
    with pytest.raises(ArgumentError, match=r"the function <lambda>(?s:.*)class Margin"):
        call(HOST, PAIRS, lambda logits: logits)
    with pytest.raises(ArgumentError, match="'accuracy', which reads rollouts"):
        call(HOST, PAIRS, accuracy())


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_registered_metric_without_settings_may_be_named(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metrics._entries, "w7 over w8", lambda host: logit_diff(host, "w7", "w8"))
    assert call(HOST, PAIRS, "w7 over w8").table.equals(call(HOST, PAIRS, METRIC).table)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: rm.patch_grid(HOST, PAIRS, 3, metric=METRIC), ArgumentError, "sites is the integer 3"),
        (
            lambda: rm.patch_grid(HOST, PAIRS, [3], metric=METRIC),
            ArgumentError,
            r"sites\[0\] is the integer 3",
        ),
        (lambda: rm.causal.effects(HOST, PAIRS, "mlp_out.1", metric=METRIC), ArgumentError, "rm.Whole"),
        (lambda: rm.attribute(HOST, PAIRS, "coder", metric=METRIC), ArgumentError, "coders is the string"),
        (lambda: rm.attribute(HOST, PAIRS, [CODER, 3], metric=METRIC), ArgumentError, r"coders\[1\] is"),
        (lambda: CoderSet(torch.zeros(3)), ArgumentError, "coders is a Tensor"),
        (lambda: rm.attribute(HOST, PAIRS, CODER, metric=METRIC, method=3), UnknownNameError, "integrated"),
        (lambda: IntegratedGradients(2.5), ArgumentError, "steps is the number 2.5"),
        (lambda: rm.causal.audit(PAIRS), ArgumentError, "attribution is a TextPairs"),
        (
            lambda: rm.causal.faithfulness(HOST, PAIRS, [1, 2], metric=METRIC),
            ArgumentError,
            "groups is a list of 2",
        ),
        (lambda: FeatureGroups([1, 2], CODER), ArgumentError, "coder is a list of 2"),
        (lambda: FeatureGroups(CODER, 5), ArgumentError, "group 'group' is the integer 5"),
        (lambda: FeatureGroups(CODER, {"a": "12"}), ArgumentError, "group 'a' is the string '12'"),
        (lambda: FeatureGroups(CODER, ["f1"]), ArgumentError, "is the string 'f1'"),
        (lambda: CoderSet(CODER).at("resid_post.2"), UnknownNameError, "resid_post.1"),
    ],
)
def test_sites_axes_coders_and_groups_of_the_wrong_type_are_refused(
    make, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        make()
    assert caught.value.allowed  # type: ignore[attr-defined]


def test_features_of_one_group_are_groups_of_one() -> None:
    by_features = rm.causal.faithfulness(HOST, PAIRS, rm.Features(CODER, (3, 1)), metric=METRIC).table
    assert by_features.equals(
        rm.causal.faithfulness(HOST, PAIRS, FeatureGroups(CODER, [3, 1]), metric=METRIC).table
    )


def test_values_are_written_on_one_line() -> None:
    attribution = rm.attribute(HOST, PAIRS, CODER, metric=METRIC)
    values = (
        rm.patch_grid(HOST, PAIRS, "resid_post.1", metric=METRIC),
        rm.causal.effects(HOST, PAIRS, rm.Whole("mlp_out.1"), metric=METRIC),
        attribution,
        rm.causal.audit(attribution),
        rm.causal.faithfulness(HOST, PAIRS, rm.Features(CODER, (1,)), metric=METRIC),
        CoderSet(CODER, transfer=True),
        FeatureGroups(CODER, {"a": [1, 2], "random": [3]}),
    )
    for value in values:
        assert (
            repr(value).startswith(type(value).__name__)
            and "\n" not in repr(value)
            and len(repr(value)) < 200
        )
