"""One protocol for all scores: by kind where one needs only labels, else as a value that carries the rest."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from reasonmech.errors import ArgumentError, UnknownNameError
from reasonmech.locate import (
    Auroc,
    CohenD,
    Context,
    DetectionScore,
    Discovered,
    Hazard,
    LatentScaling,
    Onset,
    OnsetAttribution,
    ReasonScore,
    Score,
    Search,
    locate,
    scores,
)
from reasonmech.locate.scoring.score import by_name, kind_of, needed_fields
from reasonmech.stats import mean_interval
from reasonmech.testing import tiny_host

SEARCH = Search(top=4, draws=50)
KINDS = {
    "auroc": Auroc,
    "cohen_d": CohenD,
    "hazard": Hazard,
    "attribution": OnsetAttribution,
    "nu": LatentScaling,
    "reason_score": ReasonScore,
}


@dataclass(frozen=True)
class Metric:
    """A metric on what comes next."""

    name: str = "metric"
    unit: str = "nats"

    def continuations(self, host, n_texts):
        return [()] * n_texts

    def value(self, reading):
        return reading.logits.max(-1).values


def test_every_score_is_registered_and_says_its_unit_and_what_it_needs(world) -> None:
    assert {kind: scores.get(kind) for kind in KINDS} == KINDS
    values = (
        Auroc(),
        CohenD(),
        Hazard(),
        ReasonScore({"wait": (3,)}),
        LatentScaling(world.acts),
        OnsetAttribution(Onset(tiny_host(), [], Metric())),
    )
    for score in values:
        assert isinstance(score, Score) and score.unit and score.needs
        assert kind_of(score) in KINDS
    needs = {kind: [need.name for need in needed_fields(cls)] for kind, cls in KINDS.items()}
    assert needs == {
        "auroc": [], "cohen_d": [], "hazard": [], "attribution": ["onset"], "nu": ["sibling"],
        "reason_score": ["words"],
    }  # fmt: skip
    assert {"auroc", "cohen_d", "hazard"} <= set(by_name()) and not {"nu", "attribution"} & set(by_name())


@pytest.mark.parametrize(("kind", "cls"), [("auroc", Auroc), ("cohen_d", CohenD), ("hazard", Hazard)])
def test_a_kind_and_its_value_give_the_same_table(world, coder, kind: str, cls: type[Score]) -> None:
    by_kind, by_value = (
        locate(world.acts, world.labels, coder, score=score, search=SEARCH).frame for score in (kind, cls())
    )
    assert set(by_kind.score) == {kind} and by_kind.equals(by_value)


@pytest.mark.parametrize(
    ("kind", "need", "code"),
    [
        ("attribution", "onset", "OnsetAttribution"),
        ("nu", "sibling", "LatentScaling"),
        ("reason_score", "words", "ReasonScore"),
    ],
)
def test_a_kind_that_carries_too_little_is_refused_with_the_code_that_would_do(
    world, coder, kind: str, need: str, code: str
) -> None:
    with pytest.raises(ArgumentError, match=f"score '{kind}' needs {need} ") as caught:
        locate(world.acts, world.labels, coder, score=kind)
    assert "auroc" in caught.value.allowed and code in caught.value.do


@pytest.mark.parametrize(
    ("score", "happened"),
    [
        (lambda codes: codes, "score is the function <lambda>"),
        (Auroc, "score is the class Auroc"),
        (0.5, "score is the number 0.5"),
        (torch.zeros(3), r"score is a Tensor of shape \(3,\)"),
        (None, "score is None"),
    ],
)
def test_what_is_no_score_is_named_with_what_a_score_is(world, coder, score, happened: str) -> None:
    with pytest.raises(ArgumentError, match=happened) as caught:
        locate(world.acts, world.labels, coder, score=score)
    assert "auroc" in caught.value.allowed and "score=" in caught.value.do


@pytest.mark.parametrize(
    ("make", "happened"),
    [
        (lambda: LatentScaling("sibling"), "sibling is the string 'sibling'"),
        (lambda: LatentScaling(torch.zeros(4, 64)), "sibling is a Tensor"),
        (lambda: OnsetAttribution(Metric()), "onset is a Metric"),
        (lambda: Onset(Metric(), [], tiny_host()), "host is a Metric"),
        (lambda: ReasonScore("wait"), "words is the string 'wait'"),
        (lambda: ReasonScore({"wait": "wait"}), r"words\['wait'\] is the string 'wait'"),
    ],
)
def test_what_a_score_is_to_carry_is_checked_when_it_is_made(make, happened: str) -> None:
    with pytest.raises(ArgumentError, match=happened) as caught:
        make()
    assert caught.value.allowed and caught.value.do


def test_labels_may_be_left_out_where_they_play_no_part_and_nowhere_else(world, coder) -> None:
    for score in ("auroc", LatentScaling(world.acts)):
        with pytest.raises(ArgumentError, match="needs labels, and there are none"):
            locate(world.acts, None, coder, score=score)


def test_a_context_is_refused_by_a_score_that_reads_none(world, coder) -> None:
    with pytest.raises(ArgumentError, match="'nu' reads no context"):
        locate(world.acts, world.labels, coder, score=LatentScaling(world.acts), context=Context())


def test_a_score_that_is_not_registered_is_refused(world, coder) -> None:
    class Unknown(Auroc.__bases__[0]):
        unit = "x"

        def discover(self, codes, sample):
            raise AssertionError

        def held_out(self, columns, train, test, search):
            raise AssertionError

    with pytest.raises(ArgumentError, match="Unknown, which is not registered") as caught:
        locate(world.acts, world.labels, coder, score=Unknown())
    assert "@scores.register" in caught.value.do
    with pytest.raises(UnknownNameError, match="unknown score 'unknown'"):
        locate(world.acts, world.labels, coder, score="unknown")


def test_a_score_is_one_line_when_printed(world) -> None:
    host = tiny_host()
    assert repr(Auroc()) == "Auroc()"
    assert repr(LatentScaling(world.acts)) == "LatentScaling(sibling 'planted', halves=200)"
    printed = repr(OnsetAttribution(Onset(host, [None] * 3, Metric())))
    assert "\n" not in printed and "3 rollouts" in printed and len(printed) < 120


GAP = '''"""Gap: a score in a file of its own."""
import numpy as np
from reasonmech.locate.p_values import Discovered
from reasonmech.locate.scoring.detection import DetectionScore
from reasonmech.locate.scoring.score import scores
from reasonmech.stats import mean_interval


@scores.register("test_gap")
class Gap(DetectionScore):
    unit = "activation units"

    def discover(self, codes, sample):
        dense = codes.matrix.toarray()
        gap = dense[sample.positive].mean(0) - dense[~sample.positive].mean(0)
        return Discovered(gap, np.sign(gap), np.ones_like(gap))

    def held_out(self, columns, train, test, search):
        columns = columns.test.T
        return [mean_interval(values, test.problem, bounds=None, draws=search.draws) for values in columns]
'''


def test_a_score_in_a_new_file_of_the_folder_is_found_by_its_kind(
    world, coder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is searched: no list names its modules."""
    folder = importlib.import_module("reasonmech.locate.scoring")
    (tmp_path / "gap.py").write_text(GAP)
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    monkeypatch.setattr(scores, "_entries", dict(scores._entries))
    try:
        folder.import_siblings()
        table = locate(world.acts, world.labels, coder, score="test_gap", search=SEARCH)
    finally:
        sys.modules.pop("reasonmech.locate.scoring.gap", None)
    dense = torch.relu(world.acts.x).numpy()
    assert set(table.frame.score) == {"test_gap"} and set(table.frame.unit) == {"activation units"}
    assert table.frame.train_value.idxmax() is not None and dense.shape[1] == 64
    assert isinstance(scores.get("test_gap")(), DetectionScore)
    assert np.isfinite(table.frame.value.dropna()).all()


def test_a_registered_class_that_is_no_score_says_what_to_derive_it_from(
    world, coder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "_entries", dict(scores._entries))

    @scores.register("bare")
    class Bare:
        unit = "x"

        def discover(self, codes, sample) -> Discovered:
            raise AssertionError

        def held_out(self, columns, train, test, search):
            return [mean_interval(values, test.problem, bounds=None) for values in columns.test.T]

    with pytest.raises(ArgumentError, match="'bare' is the class Bare, which is no Score") as caught:
        locate(world.acts, world.labels, coder, score="bare")
    assert "DetectionScore" in caught.value.do
    assert "bare" not in by_name()
