"""Metrics from a mapping or by name: what Python makes, and all else refused in three parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
import torch
import yaml
from torch import Tensor

import reasonmech as rm
from reasonmech.errors import ArgumentError, ConfigError, ReasonmechError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.metrics import (
    NextTokenKL,
    accuracy,
    answer_likelihood,
    as_rollout_metric,
    as_text_metric,
    behaviour_rate,
    cover_at_tau,
    logit_diff,
    metric_from_config,
    metrics,
    next_token_kl,
    onset_log_odds,
    pass_at_k,
)
from reasonmech.runtime.readout import Reading, Run
from reasonmech.testing import tiny_host

HOST = tiny_host()


@dataclass(frozen=True)
class Gap:
    """A metric as a plug-in writes one, with one setting and one that has a default."""

    token: int
    scale: float = 1.0
    name = "gap"
    unit = "logits"

    def continuations(self, host: Host, n_texts: int) -> Sequence[Sequence[Run]]:
        return [()] * n_texts

    def value(self, reading: Reading) -> Tensor:
        return self.scale * (reading.logits.max(-1).values - reading.logits[:, self.token])


@pytest.fixture
def gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metrics._entries, "gap", Gap)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{kind: logit_diff, good: w7, bad: w8}", logit_diff(HOST, "w7", "w8")),
        ("{kind: logit_diff, good: [w7, w1], bad: w8}", logit_diff(HOST, ["w7", "w1"], "w8")),
        ("{kind: logit_diff, good: 11, bad: 12}", logit_diff(HOST, 11, 12)),
        ("{kind: onset_log_odds, onset: [w7, w8 w9]}", onset_log_odds(HOST, ["w7", "w8 w9"])),
        ("{kind: onset_log_odds, onset: [[7, 8], [9]]}", onset_log_odds(HOST, [(7, 8), (9,)])),
        ("{kind: onset_log_odds, onset: [w7], single: true}", onset_log_odds(HOST, ["w7"], single=True)),
        (
            "{kind: answer_likelihood, references: [w1, w2], distractors: [[w3], [w4]], against: mean}",
            answer_likelihood(HOST, ["w1", "w2"], distractors=[["w3"], ["w4"]], against="mean"),
        ),
        ("{kind: behaviour_rate, behaviour: check, per: rollout}", behaviour_rate("check", per="rollout")),
        ("{kind: accuracy}", accuracy()),
        ("accuracy", accuracy()),
    ],
)
def test_a_mapping_of_yaml_makes_the_metric_that_python_makes(text: str, expected: object) -> None:
    assert metric_from_config(HOST, yaml.safe_load(text)) == expected


def test_a_reference_run_is_made_from_texts_in_yaml() -> None:
    metric = metric_from_config(HOST, {"kind": "next_token_kl", "texts": ["w1 w2", "w3"]})
    assert isinstance(metric, NextTokenKL)
    assert torch.equal(metric.reference, next_token_kl(HOST, ["w1 w2", "w3"]).reference)


def test_a_registered_metric_of_ones_own_works_from_a_mapping(gap: None) -> None:
    assert metric_from_config(HOST, {"kind": "gap", "token": 3, "scale": 2.0}) == Gap(3, 2.0)
    with pytest.raises(ConfigError, match="'gap' without token"):
        metric_from_config(HOST, "gap")
    with pytest.raises(UnknownNameError, match=r"setting of metric 'gap' 'tokens'(?s:.*)token, scale"):
        metric_from_config(HOST, {"kind": "gap", "tokens": 3})


def three_parts(error: ReasonmechError) -> bool:
    return bool(error.happened and error.allowed)


@pytest.mark.parametrize(
    ("config", "error", "says"),
    [
        ({"kind": "logit_dif"}, UnknownNameError, "logit_diff"),
        ("logit_dif", UnknownNameError, "logit_diff"),
        ({"kind": "logit_diff", "right": "w1"}, UnknownNameError, "good, bad"),
        ({"kind": "logit_diff", "host": "w1"}, UnknownNameError, "good, bad"),
        ({"kind": "logit_diff", "good": "w1"}, ArgumentError, "bad is None"),
        ({"kind": "onset_log_odds"}, ConfigError, "without onset"),
        ({"kind": "onset_log_odds", "onset": [1.5, 2.5]}, ArgumentError, "a list of token ids"),
        ({"kind": "behaviour_rate", "behaviour": 3}, ArgumentError, "behaviour is the integer 3"),
        ({"good": "w1"}, ConfigError, "kind is None"),
        ({"kind": 3}, ConfigError, "kind is the integer 3"),
        (["logit_diff"], ArgumentError, "a list of 1"),
        (None, ArgumentError, "is None"),
    ],
)
def test_a_configuration_that_describes_no_metric_is_refused(
    config: Mapping[str, object], error: type[ReasonmechError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        metric_from_config(HOST, config)
    assert three_parts(caught.value)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: rm.logit_diff("w1", "w2"), r"host is the string 'w1'(?s:.*)rm.logit_diff\(host"),
        (lambda: rm.logit_diff(HOST, "w1"), "bad is None"),
        (lambda: rm.logit_diff(HOST, torch.zeros(3), "w1"), "good is a Tensor"),
        (lambda: rm.logit_diff(HOST, 1.5, "w1"), "good is the number 1.5"),
        (lambda: rm.logit_diff(HOST, ["w1", None], "w1"), "a word is None"),
        (lambda: rm.logit_diff(HOST, {"w1"}, "w2"), "good is a set"),
        (lambda: rm.onset_log_odds(["w1", "w2"], HOST), "host is a list"),
        (lambda: rm.onset_log_odds(HOST, 5), "the onset set is the integer 5"),
        (lambda: rm.metrics.answer_likelihood(["w1"], HOST), "host is a list"),
        (lambda: rm.metrics.answer_likelihood(HOST, {"w1": 1}), "references is a dict"),
        (lambda: rm.metrics.next_token_kl(["w1"], HOST), "host is a list"),
        (lambda: rm.metrics.behaviour_rate(HOST), "behaviour is a Host"),
        (lambda: rm.metrics.accuracy().measure(["w1"]), "rollouts is a list"),
        (lambda: rm.metrics.behaviour_rate("check").measure("w1"), "rollouts is the string"),
        (lambda: rm.metrics.agreement_table([1]), "rollouts is a list"),
        (lambda: pass_at_k([[True]], 1), "correct is a list"),
        (lambda: cover_at_tau(torch.zeros(2, 2).numpy(), 0.5), "of float32"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_right_call(call, says: str) -> None:
    with pytest.raises(ArgumentError, match=says) as caught:
        call()
    assert three_parts(caught.value)


def test_one_text_is_one_text_and_one_distractor_one_distractor() -> None:
    assert torch.equal(next_token_kl(HOST, "w1 w2").reference, next_token_kl(HOST, ["w1 w2"]).reference)
    assert answer_likelihood(HOST, ["w1"], distractors=["w3"]) == answer_likelihood(
        HOST, ["w1"], distractors=[["w3"]]
    )


def test_a_name_is_a_metric_where_it_needs_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metrics._entries, "gap of 3", lambda: Gap(3))
    assert as_text_metric(HOST, "gap of 3") == Gap(3) == as_text_metric(HOST, Gap(3))
    assert as_rollout_metric(HOST, "accuracy") == accuracy()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda logits: logits, r"the function <lambda>(?s:.*)def value\(self, reading\)"),
        (logit_diff, "the function logit_diff"),
        (Gap, "the class Gap, not a value of it"),
        (accuracy(), "'accuracy', which reads rollouts"),
        ("accuracy", "'accuracy', which reads rollouts"),
        (torch.zeros(3), "a Tensor"),
        (None, "metric is None"),
    ],
)
def test_what_is_no_metric_on_texts_is_refused_with_how_to_write_one(value: object, says: str) -> None:
    with pytest.raises(ArgumentError, match=says) as caught:
        as_text_metric(HOST, value)  # type: ignore[arg-type]
    assert "class Margin" in caught.value.do and three_parts(caught.value)


def test_what_is_no_metric_on_rollouts_is_refused_with_how_to_write_one() -> None:
    for value, says in ((Gap(3), "'gap', which reads what comes next"), (lambda rollouts: 1, "<lambda>")):
        with pytest.raises(ArgumentError, match=says) as caught:
            as_rollout_metric(HOST, value)  # type: ignore[arg-type]
        assert "def measure(self, rollouts)" in caught.value.do


def test_sweeps_and_the_onset_score_take_a_metric_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metrics._entries, "gap of 3", lambda: Gap(3))
    plans = rm.grid({"stream": rm.Whole("resid_post.1")}, "ablate")
    by_name, by_value = (
        rm.sweep(HOST, ["w1 w2"], plans, metric=metric, progress=False).table
        for metric in ("gap of 3", Gap(3))
    )
    assert by_name.equals(by_value)
    assert rm.features.Onset(HOST, [], "gap of 3").readout == Gap(3)
    for make in (
        lambda: rm.sweep(HOST, ["w1 w2"], plans, metric=lambda logits: logits),
        lambda: rm.features.Onset(HOST, [], lambda logits: logits),
    ):
        with pytest.raises(ArgumentError, match="class Margin"):
            make()
    with pytest.raises(ArgumentError, match="def measure"):
        rm.sweeps.sweep_rollouts(HOST, ["w1 w2"], plans, metric=Gap(3))
