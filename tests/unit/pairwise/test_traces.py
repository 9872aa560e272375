"""Traces: ranks and surprise against plain passes, classes of tokens, and what known pairs say."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.hosts import ModelPair
from reasonmech.organisms import load_pair
from reasonmech.pairwise import PairRollouts, locate_surprise, traces
from reasonmech.pairwise.traces import CLASSES, HALVES, OWN, SHUFFLED, _shuffled, classes_of
from reasonmech.rollout import STOP
from reasonmech.tasks import parse


@cache
def written(name: str, *, samples: int = 4) -> PairRollouts:
    pair = load_pair(name)
    problems = rm.load_task(pair.task or "chain", n=8, seed=3)
    decode = rm.Decode(max_new_tokens=160, temperature=1.0, samples=samples)
    texts = (
        rm.generate(host, problems, decode=decode, progress=False) for host in (pair.base, pair.thinking)
    )
    return PairRollouts(*texts)


@cache
def table(name: str) -> pd.DataFrame:
    return traces(load_pair(name), written(name))


def value(frame: pd.DataFrame, statistic: str, text: str, compared: str | None = None) -> float:
    rows = frame[(frame.statistic == statistic) & (frame.text == text)]
    rows = rows if compared is None else rows[rows.compared == compared]
    assert len(rows) == 1
    return float(rows.value.iloc[0])


def test_every_chosen_token_is_of_one_class() -> None:
    for trace in parse(written("tiny-both").thinking):
        marks = classes_of(trace)
        assert tuple(marks) == CLASSES
        assert (np.sum([*marks.values()], axis=0) == 1).all()
        assert len(marks["other"]) == trace.rollout.n_chosen
        begun = [s for s in trace.sentences if s.kind != STOP and not trace.rollout.by_environment[s.start]]
        assert marks["onset"].sum() == len(begun)
        assert marks["end"].sum() == (trace.rollout.stop != "length")


@torch.no_grad()
def test_ranks_and_surprise_are_those_of_plain_passes() -> None:
    pair, rollouts = load_pair("tiny-how"), written("tiny-how")

    def surprise(rollout: rm.Rollout) -> tuple[torch.Tensor, torch.Tensor]:
        logits = pair.base.model(torch.tensor([rollout.all_ids])).logits[0].double().log_softmax(-1)
        at = [t for t, flag in enumerate(rollout.by_environment) if not flag]
        before = logits[[len(rollout.prompt_ids) - 1 + t for t in at]]
        return -before[range(len(at)), [rollout.ids[t] for t in at]], -(before.exp() * before).sum(-1)

    means = [[float(surprise(r)[0].mean()) for r in side] for side in (rollouts.base, rollouts.thinking)]
    ranks = [np.mean(np.array(means[0][i - i % 4 : i - i % 4 + 4]) < means[1][i]) for i in range(32)]
    assert value(table("tiny-how"), "percentile", "thinking", OWN) == pytest.approx(np.mean(ranks), abs=1e-6)
    at_values = []
    for trace in parse(rollouts.thinking):
        nats, entropy = surprise(trace.rollout)
        at_values.append(float((nats - entropy)[torch.from_numpy(classes_of(trace)["value"])].sum()))
    measured = value(table("tiny-how"), "excess surprise, value", "thinking")
    assert measured == pytest.approx(np.mean(at_values), rel=1e-4)


def test_a_shuffled_text_has_the_same_tokens_in_another_order() -> None:
    changed = 0
    for trace in parse(written("tiny-when").thinking):
        other = _shuffled(trace, 0).rollout
        assert sorted(other.ids) == sorted(trace.rollout.ids) and other.ids[-1] == trace.rollout.ids[-1]
        assert sum(other.by_environment) == sum(trace.rollout.by_environment)
        changed += other.ids != trace.rollout.ids
    assert changed > 25


def test_timing_sits_at_onsets_and_execution_at_values() -> None:
    when, how = table("tiny-when"), table("tiny-how")
    assert locate_surprise(when) == "onsets" and locate_surprise(how) == "executions"
    assert value(when, "percentile", "thinking", OWN) < 0.5 < 0.9 < value(how, "percentile", "thinking", OWN)
    for frame in (when, how):
        assert 0.3 < value(frame, "percentile", "base", HALVES) < 0.7
        assert value(frame, "percentile", "thinking", SHUFFLED) > 0.95
        for name in CLASSES:
            assert abs(value(frame, f"excess surprise, {name}", "base")) < 0.5


def test_one_model_is_in_the_middle_of_itself_and_surprised_nowhere() -> None:
    pair, texts = load_pair("tiny-when"), written("tiny-when").base
    frame = traces(ModelPair(name="aa", base=pair.base, thinking=pair.base), PairRollouts(texts, texts))
    assert value(frame, "percentile", "thinking", OWN) == 0.5
    assert value(frame, "same kinds", "base", "base and thinking") == 1.0
    assert locate_surprise(frame) in ("neither", "undecided")


def test_what_cannot_be_ranked_is_refused() -> None:
    pair, rollouts = load_pair("tiny-when"), written("tiny-when")
    first = PairRollouts(
        *(rm.Rollouts([r for r in side if not r.sample], task="chain") for side in rollouts.sides().values())
    )
    with pytest.raises(DataError, match="nothing to rank another one among"):
        traces(pair, first)
    with pytest.raises(DataError, match="0 rows of the excess surprise"):
        locate_surprise(pd.DataFrame(columns=["statistic", "text"]))
