"""What a public function is given by mistake is named, with what is meant and the code that makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from reasonmech.errors import ArgumentError, DataError
from reasonmech.interventions import Direction, Features
from reasonmech.locate import (
    FeatureStats,
    FeatureTable,
    Search,
    behaviour_preservation,
    compare_detectors,
    feature_stats,
    ladder,
    locate,
    logit_lens,
    matched_features,
    select,
)
from reasonmech.locate.falsify import Falsification, falsify, random_twin
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.testing import tiny_coder, tiny_host
from tests.unit.locate.test_ladder import FIT, judged
from tests.unit.locate.test_ladder import table as ladder_table

ROLLOUT = Rollout(Problem("p", "", ""), 0, (1, 2), (3,), (False,), (False,), "eos", "")
HOST = tiny_host()
CODER = tiny_coder(HOST, "resid_post.1")
AXIS = Direction.along(torch.ones(HOST.d_model), "resid_post.1")
STATS = FeatureStats(np.full(9, 0.1), np.ones(9), np.ones(9))


def refused(call: Callable[[], Any], happened: str) -> None:
    with pytest.raises(ArgumentError, match=happened) as caught:
        call()
    error = caught.value
    assert error.allowed and isinstance(error, TypeError), str(error)


@pytest.fixture(scope="module")
def table(world, coder) -> FeatureTable:
    return locate(world.acts, world.labels, coder, search=Search(top=4, draws=50))


@pytest.mark.parametrize(
    ("labels", "happened"),
    [
        ("check", "labels is the string 'check'"),
        (torch.zeros(4), r"labels is a Tensor of shape \(4,\)"),
        ([ROLLOUT], "labels is a list of 1"),
        (np.zeros(4, bool), r"labels is a ndarray of shape"),
        (lambda: 0, "labels is the function <lambda>"),
    ],
)
def test_labels_are_told_from_everything_else(world, coder, labels, happened: str) -> None:
    for search in (locate, compare_detectors):
        with pytest.raises(ArgumentError, match=happened) as caught:
            search(world.acts, labels, coder)
        assert "rm.label(" in caught.value.do


def test_activations_and_coders_are_told_from_everything_else(world, coder) -> None:
    for search in (locate, compare_detectors):
        refused(lambda s=search: s(world.acts.x, world.labels, coder), "acts is a Tensor")
        refused(lambda s=search: s("store", world.labels, coder), "acts is the string 'store'")
        refused(lambda s=search: s(HOST, world.labels, coder), "acts is a Host")
        refused(lambda s=search: s(coder, world.labels, world.acts), "acts is a PlantedCoder")
        refused(lambda s=search: s(world.acts, world.labels, "coder"), "coder is the string 'coder'")
        refused(lambda s=search: s(world.acts, world.labels, world.acts), "coder is a PlantedActivations")
    refused(lambda: locate(world.acts, world.labels, coder, search="max_t"), "search is the string")
    refused(lambda: locate(world.acts, world.labels, coder, context=np.ones(4)), "context is a ndarray")


def test_a_lens_with_its_arguments_swapped_says_so() -> None:
    refused(lambda: logit_lens(AXIS, HOST), "host is a Direction")
    refused(lambda: logit_lens(Features(CODER, (1,)), HOST), "host is a Features")
    refused(lambda: logit_lens(HOST, torch.ones(HOST.d_model)), "axis is a Tensor")
    refused(lambda: logit_lens(HOST, [1, 2]), "axis is a list of 2")
    refused(lambda: logit_lens("tiny", AXIS), "host is the string 'tiny'")


def test_a_selection_is_from_a_table_by_a_whole_number(table: FeatureTable, coder) -> None:
    refused(lambda: select(table.frame, 1, coder=coder), "table is a DataFrame")
    refused(lambda: select("table", 1, coder=coder), "table is the string 'table'")
    refused(lambda: select(table, 1.5, coder=coder), "k is the number 1.5")
    refused(lambda: select(table, 1, coder="coder"), "coder is the string 'coder'")
    refused(lambda: FeatureTable.concat("tables"), "tables is the string 'tables'")
    assert len(FeatureTable.concat(table)) == len(table)  # one table is one table


def test_statistics_and_their_features_are_told_from_everything_else(coder) -> None:
    refused(lambda: feature_stats(torch.zeros(3, 64), coder), "coder is a Tensor")
    refused(lambda: feature_stats(coder, [[0.0]]), "x is a list of 1")
    refused(lambda: matched_features(torch.zeros(9), (1,), n=1), "stats is a Tensor")
    refused(lambda: matched_features(STATS, "1", n=1), "targets is the string '1'")
    refused(lambda: matched_features(STATS, [0.5], n=1), r"targets\[0\] is the number 0.5")
    refused(lambda: matched_features(STATS, torch.tensor([1]), n=1), "targets is a Tensor")
    with pytest.raises(DataError, match="no feature 9") as caught:
        matched_features(STATS, (9,), n=1)
    assert caught.value.allowed == "0 to 8"
    assert len(matched_features(STATS, 3, n=2)) == 2  # one feature is one feature


def test_attempts_are_values_with_findings(table: FeatureTable, coder) -> None:
    class Never:
        name = "never"

        def findings(self, coder, candidates):
            return []

    refused(lambda: falsify("table", coder, attempts=[Never()]), "table is the string 'table'")
    refused(lambda: falsify(table, torch.zeros(3), attempts=[Never()]), "coder is a Tensor")
    refused(lambda: falsify(table, coder, attempts="crossed"), "attempts is the string 'crossed'")
    refused(lambda: falsify(table, coder, attempts=[lambda coder: []]), r"attempts\[0\] is the function")
    alone, listed = (falsify(table, coder, attempts=attempts) for attempts in (Never(), [Never()]))
    assert alone.candidates == listed.candidates  # one attempt is one attempt
    refused(lambda: random_twin(CODER), "host is a ")


def test_a_ladder_is_of_a_fit_tables_and_a_falsification() -> None:
    of_score = ladder_table((0.8, 0.9))
    good: dict[str, Any] = {"fit": FIT, "table": of_score, "falsification": judged(of_score, "survives")}
    assert isinstance(good["falsification"], Falsification)
    refused(lambda: ladder([3], **good | {"fit": 0.9}), "fit is the number 0.9")
    refused(lambda: ladder([3], **good | {"table": of_score.frame}), "table is a DataFrame")
    refused(lambda: ladder([3], **good | {"falsification": "survives"}), "falsification is the string")
    refused(lambda: ladder([3], **good, preservation=0.9), "preservation is the number 0.9")
    refused(lambda: ladder("3", **good), "features is the string '3'")
    assert len(ladder(3, **good)) == 3


@pytest.mark.parametrize(
    ("change", "happened"),
    [
        ({"host": CODER}, "host is a "),
        ({"coder": HOST}, "coder is a Host"),
        ({"labels": [ROLLOUT]}, "labels is a list of 1"),
        ({"rollouts": "w1 w2"}, "rollouts is the string"),
        ({"onset_ids": "wait"}, "onset_ids is the string 'wait'"),
    ],
)
def test_a_preservation_is_of_a_host_a_coder_rollouts_and_labels(
    world, change: dict[str, Any], happened: str
) -> None:
    good: dict[str, Any] = {"host": HOST, "coder": CODER, "rollouts": [ROLLOUT], "labels": world.labels}
    refused(lambda: behaviour_preservation(**{**good, "onset_ids": [7], **change}), happened)
