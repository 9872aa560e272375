"""Divergence of two models' next tokens: against scipy, against known pairs, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

import reasonmech as rm
from reasonmech.errors import ArgumentError, ConfigError, DataError, UnknownNameError
from reasonmech.hosts import Host, ModelPair
from reasonmech.pairwise import COLUMNS, PairRollouts, divergence, measure_pair
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime import Decode, generate
from reasonmech.testing import tiny_host, tiny_pair
from tests.layouts import layout, layout_model

PROBLEMS = ProblemSet([Problem(str(i), f"w{i} w1 w2", "") for i in range(5)], task="toy")


def written(pair: ModelPair, *, seed: int = 0) -> PairRollouts:
    decode = Decode(max_new_tokens=9, temperature=1.0, seed=seed)
    base, thinking = (
        generate(host, PROBLEMS, decode=decode, progress=False) for host in (pair.base, pair.thinking)
    )
    return PairRollouts(base=base, thinking=thinking)


def value(frame, statistic: str, *, text: str, control: bool = False) -> float:
    rows = frame[(frame.statistic == statistic) & (frame.text == text)]
    rows = rows[(rows.compared != "base and thinking") == control]
    assert len(rows) == 1
    return float(rows.value.iloc[0])


def test_js_and_kl_equal_scipys_on_each_token() -> None:
    pair = tiny_pair(change=0.3)
    rollouts = written(pair)
    frame = divergence(pair, rollouts)
    assert list(frame.columns) == list(COLUMNS)
    by_problem, kl_by_problem = [], []
    with torch.no_grad():
        for rollout in rollouts.thinking:
            ids = torch.tensor([rollout.all_ids])
            chosen = slice(len(rollout.prompt_ids) - 1, len(rollout.all_ids) - 1)
            p, q = (
                host.model(ids).logits[0, chosen].double().softmax(-1).numpy()
                for host in (pair.base, pair.thinking)
            )
            by_problem.append(np.mean([jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)]))
            kl_by_problem.append(np.mean((q * np.log(q / p)).sum(-1)))
    assert value(frame, "js", text="thinking") == pytest.approx(np.mean(by_problem), rel=1e-3)
    assert value(frame, "kl(thinking || base)", text="thinking") == pytest.approx(
        np.mean(kl_by_problem), rel=1e-3
    )
    assert np.mean(by_problem) > 0.05  # the pair differs


def test_a_pair_of_one_model_has_no_divergence_and_neither_has_its_control() -> None:
    host, twin = tiny_host(), tiny_host()
    pair = ModelPair(name="same", base=host, thinking=twin)
    frame = divergence(pair, written(pair))
    assert frame.value.abs().max() < 1e-6


def test_the_control_of_a_sharpened_base_is_the_whole_of_its_divergence() -> None:
    host, sharp = tiny_host(), tiny_host()
    with torch.no_grad():
        sharp.unembedding().mul_(2.0)  # T = 0.5
    pair = ModelPair(name="sharp", base=host, thinking=sharp)
    frame = divergence(pair, written(pair))
    assert set(frame.compared) == {"base and thinking", "base and base at T = 0.5"}
    assert value(frame, "js", text="base") > 0.001
    for text in ("base", "thinking"):
        for statistic in ("js", "js > 0.1"):
            assert value(frame, statistic, text=text) == pytest.approx(
                value(frame, statistic, text=text, control=True), abs=1e-6
            )


def test_tokens_of_the_environment_do_not_count() -> None:
    pair = tiny_pair(change=0.3)
    rollouts = written(pair)
    forced = Rollouts(
        [replace(r, by_environment=(True, *r.by_environment[1:])) for r in rollouts.base], task="toy"
    )
    shorter = PairRollouts(base=forced, thinking=rollouts.thinking)
    before, after = divergence(pair, rollouts), divergence(pair, shorter)
    assert value(before, "js", text="base") != value(after, "js", text="base")
    assert value(before, "js", text="thinking") == value(after, "js", text="thinking")


def test_a_large_vocabulary_of_another_layout_is_read_too() -> None:
    base, thinking = (
        Host(layout_model("gemma", seed=seed), layout("gemma"), name=f"g{seed}") for seed in (0, 1)
    )
    pair = ModelPair(name="gemma", base=base, thinking=thinking)
    frame = divergence(pair, written(pair))
    assert np.isfinite(frame.value).all() and value(frame, "js", text="base") > 0.1


@pytest.mark.parametrize("threshold", [0.0, -1.0, 0.7, float("nan")])
def test_a_threshold_that_no_token_or_every_token_passes_is_refused(threshold: float) -> None:
    with pytest.raises(DataError, match="ln 2"):
        divergence(tiny_pair(), written(tiny_pair()), threshold=threshold)


def test_rollouts_of_other_problems_on_one_side_are_refused() -> None:
    rollouts = written(tiny_pair())
    fewer = Rollouts(list(rollouts.base)[:-1], task="toy")
    with pytest.raises(DataError, match="answered by one model alone, such as '4'"):
        PairRollouts(base=fewer, thinking=rollouts.thinking)


def test_what_is_no_rollouts_no_kind_or_no_setting_is_refused_by_name() -> None:
    pair = tiny_pair()
    rollouts = written(pair)
    with pytest.raises(ArgumentError, match="base is a list"):
        PairRollouts(base=[], thinking=rollouts.thinking)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnknownNameError, match="divergense"):
        measure_pair(pair, rollouts, ["divergense"])
    with pytest.raises(UnknownNameError, match="treshold"):
        measure_pair(pair, rollouts, [{"kind": "divergence", "treshold": 0.1}])
    with pytest.raises(ConfigError, match="a measure whose kind is None"):
        measure_pair(pair, rollouts, [{"threshold": 0.1}])
    with pytest.raises(DataError, match="no measure"):
        measure_pair(pair, rollouts, [])


def test_measure_pair_takes_every_registered_measure() -> None:
    pair = tiny_pair(change=0.3)
    rollouts = written(pair)
    frame = rm.pairwise.measure_pair(pair, rollouts, ["divergence", {"kind": "divergence", "threshold": 0.3}])
    assert set(frame.statistic) == {"js", "js > 0.1", "js > 0.3", "kl(thinking || base)"}
