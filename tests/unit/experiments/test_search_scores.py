"""Scores in a configuration: those whose needs a run meets are made, the others refused with the reason."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from reasonmech.errors import ConfigError, UnknownNameError
from reasonmech.experiments import load_experiment
from reasonmech.experiments.stages import search_scores as module
from reasonmech.experiments.stages.locate import FeatureSearch
from reasonmech.experiments.stages.search_scores import RunScores, check_score
from reasonmech.locate import Auroc, Hazard, LatentScaling, OnsetAttribution
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.testing import tiny_coder, tiny_pair

FLAGS = (False,) * 3
ROLLOUTS = Rollouts([Rollout(Problem("p", "", ""), 0, (7, 8), (9, 10, 11), FLAGS, FLAGS, "eos", "")])


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> RunScores:
    context = SimpleNamespace(pair=tiny_pair(), problems=SimpleNamespace(task="chain"), progress=False)
    monkeypatch.setattr(module, "onset_ids", lambda host, task, behaviour: (host.encode("w7")[0],))
    coders = {"tiny": tiny_coder(context.pair.base, "resid_post.1")}
    return RunScores(context, coders)  # pyright: ignore[reportArgumentType]


def test_a_run_gives_every_score_that_it_can_what_it_needs(scores: RunScores) -> None:
    text = SimpleNamespace(source="thinking", rollouts=ROLLOUTS)
    assert scores.make("auroc", text, "check") == Auroc()
    assert scores.make("hazard", text, "check") == Hazard()
    attribution = scores.make("attribution", text, "check")
    assert isinstance(attribution, OnsetAttribution) and attribution.unit == "nats"
    assert attribution.onset.host is scores.context.pair.base and attribution.onset.rollouts is ROLLOUTS
    nu = scores.make({"kind": "nu", "halves": 7}, text, "check")
    assert isinstance(nu, LatentScaling) and nu.halves == 7
    assert nu.sibling.host_hash == scores.context.pair.thinking.weight_hash
    again = scores.make("nu", text, "check")
    assert isinstance(again, LatentScaling) and again.sibling is nu.sibling  # read once for each text


@pytest.mark.parametrize(
    "score", ["auroc", "hazard", "cohen_d", "attribution", "nu", {"kind": "nu", "halves": 50}]
)
def test_a_configuration_names_a_score_by_its_kind_or_with_settings(score) -> None:
    assert FeatureSearch(score=score).score == score
    assert FeatureSearch().model_dump(mode="json")["score"] == "auroc"


@pytest.mark.parametrize(
    ("score", "error", "happened"),
    [
        ("reason_score", ConfigError, "'reason_score' needs words .* which a run does not have"),
        ({"kind": "nu", "halfs": 3}, ConfigError, "'nu' has no setting halfs"),
        ({"kind": "nu", "sibling": "x"}, ConfigError, "'nu' has no setting sibling"),
        ({"kind": "auroc", "k": 3}, ConfigError, "'auroc' has no setting k"),
        ({"halves": 3}, ConfigError, "a score whose kind is None"),
        ("aurok", UnknownNameError, "unknown score 'aurok'"),
    ],
)
def test_what_a_run_cannot_measure_is_refused_with_the_reason(score, error, happened: str) -> None:
    with pytest.raises(error, match=happened) as caught:
        check_score(score)
    assert caught.value.allowed
    with pytest.raises(error, match=happened):
        FeatureSearch(score=score)


def test_a_configuration_file_with_such_a_score_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="needs words") as caught:
        load_experiment("smoke", ["stages.locate.searches=[{score: reason_score}]"])
    assert "ReasonScore" in caught.value.do
    experiment = load_experiment("smoke", ["stages.locate.searches=[{score: nu}, {score: attribution}]"])
    searches = next(stage for stage in experiment.stages if stage.kind == "locate").model_dump()["searches"]
    assert [search["score"] for search in searches] == ["nu", "attribution"]
    assert np.all([search["source"] == "base" for search in searches])
