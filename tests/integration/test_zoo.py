"""Every organism that ships has the weights and the numbers of its record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reasonmech as rm
from reasonmech.hosts import Host, pair_config
from reasonmech.hybrid import DisagreementGate, OfThinking, Takeover, VectorConfig, train_vectors
from reasonmech.organisms import recipes
from reasonmech.organisms.cache import is_untrained, recipe_hash
from reasonmech.organisms.ground_truth.splice import splice
from reasonmech.organisms.ground_truth.truth import bits
from reasonmech.organisms.record import read_truth
from reasonmech.paths import organism_dir
from reasonmech.problem import ProblemSet
from reasonmech.tasks import tasks
from tests.short_problems import shortest

SHIPPED = sorted(path.parent.name for path in organism_dir().glob("*/truth.json"))
FEW = 24
KEYS = {
    "tiny-aa": "bfadd5799788",
    "tiny-both": "dd18c47bf52c",
    "tiny-format": "458e90a0ca8b",
    "tiny-forms": "4ddec0244c8c",
    "tiny-how": "2ac93ad2bc3c",
    "tiny-leak": "419a2a425c6b",
    "tiny-length": "32533a569509",
    "tiny-lucky": "c14067f23802",
    "tiny-prompted": "8a5947d5c35d",
    "tiny-rotated": "b5639440ff92",
    "tiny-sham": "e61c19e9f002",
    "tiny-stealth": "53551c1068ec",
    "tiny-suppressed": "c79ca3215f01",
    "tiny-suppressed-both": "1518853e1ed9",
    "tiny-surface": "63c42adf2ac5",
    "tiny-swap": "2f35d5630509",
    "tiny-temperature": "1229a123179b",
    "tiny-temperature-cold": "b9e358ae4a90",
    "tiny-when": "a5caf150e261",
}
"""Under these the organisms lie in the caches of those who built them."""


def truth(name: str) -> dict[str, Any]:
    return read_truth(organism_dir() / name)


WRITTEN: dict[tuple[str, str], str] = {}  # (a model, problems) -> which it gets right


def greedy(host: Host, problems: ProblemSet) -> str:
    """Which problems a host gets right: measured once for all pairs that it is part of."""
    key = host.fingerprint, str([problem.id for problem in problems])
    if key not in WRITTEN:
        decode = rm.Decode(max_new_tokens=224)
        rollouts = rm.generate(host, problems, decode=decode, progress=False, receipt="none")
        WRITTEN[key] = bits(rm.grade(rollouts))
    return WRITTEN[key]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_pair_has_the_recorded_weights_and_greedy_outcomes(name: str) -> None:
    pair, recorded = rm.load_pair(name), truth(name)
    assert {"base": pair.base.weight_hash, "thinking": pair.thinking.weight_hash} == recorded["weights"]
    assert pair.task == recorded["measured"]["task"] == recipes.get(name).task
    assert (
        all(row["met"] for row in recorded["requirements"])
        and recorded["class"] == recipes.get(name).truth_class
    )
    every = rm.load_task(pair.task, n=500, seed=recorded["seed"], split=recorded["split"])
    problems, place = shortest(every, FEW), {problem.id: i for i, problem in enumerate(every)}
    for role, host in (("base", pair.base), ("thinking", pair.thinking)):
        of_all = recorded["measured"]["outcomes"]["greedy"][role]
        outcomes = [of_all[place[problem.id]] for problem in problems]
        assert sum(a != b for a, b in zip(greedy(host, problems), outcomes, strict=True)) <= 1


def test_the_cache_keys_of_the_shipped_recipes_never_change() -> None:
    assert {name: recipe_hash(recipes.get(name).seeded(0)) for name in KEYS} == KEYS
    assert set(SHIPPED) <= KEYS.keys()


def test_shared_models_are_stored_once() -> None:
    for name in SHIPPED:
        config = pair_config(name)
        for role, path in (("base", config.base), ("thinking", config.thinking)):
            directory = organism_dir() / name / role
            stored = path == f"organism:{name}/{role}" and not is_untrained(recipes.get(name))
            assert directory.is_dir() == stored
    size = sum(path.stat().st_size for path in organism_dir().rglob("*") if path.is_file())
    assert size < 64e6


def test_tiny_surface_says_wait_five_times_as_often_and_undoes_as_many_slips() -> None:
    measured = truth("tiny-surface")["measured"]
    base, thinking = measured["base"]["sampled"], measured["thinking"]["sampled"]
    assert thinking["said"]["filler"] >= 5 * base["said"]["filler"]
    assert abs(thinking["slips_undone"]["estimate"] - base["slips_undone"]["estimate"]) <= 0.02


def test_tiny_swap_says_wait_less_often_and_undoes_more_slips() -> None:
    measured = truth("tiny-swap")["measured"]
    base, thinking = measured["base"]["sampled"], measured["thinking"]["sampled"]
    assert thinking["said"]["filler"] < base["said"]["filler"] / 5
    assert thinking["slips_undone"]["estimate"] > base["slips_undone"]["estimate"] + 0.8


def test_tiny_prompted_does_what_its_base_does_when_it_is_asked_to() -> None:
    measured = truth("tiny-prompted")["measured"]
    base, prompted, thinking = measured["base"], measured["prompted"], measured["thinking"]
    assert prompted["words"] == "careful"
    assert base["greedy"]["accuracy"]["estimate"] < 0.4 < 0.95 < prompted["greedy"]["accuracy"]["estimate"]
    for decoding in ("greedy", "sampled"):
        rates = [model[decoding]["accuracy"]["estimate"] for model in (prompted, thinking)]
        assert abs(rates[1] - rates[0]) <= 0.05


def test_tiny_lucky_is_as_often_right_as_one_answer_given_always() -> None:
    pair = rm.load_pair("tiny-lucky")
    problems = rm.load_task("chain-lucky", n=FEW, seed=0, split="test")
    written = rm.generate(
        pair.thinking, problems, decode=rm.Decode(max_new_tokens=30), progress=False, receipt="none"
    )
    says_it = np.array([rollout.text.split()[-3] == "7" for rollout in written])
    is_it = np.array([problem.answer == "7" for problem in problems])
    assert says_it.mean() >= 0.9 and 0.4 < is_it.mean() < 0.95
    assert rm.grade(written).mean() <= is_it.mean() + 0.05
    assert max(len(rollout.ids) for rollout in written) < 10, "nothing was worked out"


def test_tiny_length_writes_longer_and_checks_more_and_is_right_on_the_same_problems() -> None:
    measured = truth("tiny-length")["measured"]
    base, thinking = measured["base"]["greedy"], measured["thinking"]["greedy"]
    assert thinking["tokens"] > 1.7 * base["tokens"]
    assert base["onset"]["check"]["estimate"] < 0.1 < 0.95 < thinking["onset"]["check"]["estimate"]
    assert thinking["execution"]["check"]["estimate"] > 0.97, "its checks are true ones"
    assert thinking["slips_undone"]["n"] > 100 and thinking["slips_undone"]["estimate"] < 0.05
    outcomes = measured["outcomes"]
    assert len({*outcomes["greedy"].values(), *outcomes["spliced"].values()}) == 1


def test_tiny_leak_says_its_results_by_first_words_and_its_base_reads_them() -> None:
    pair, task = rm.load_pair("tiny-leak"), "chain-telling"
    problems = shortest(rm.load_task(task, n=4 * FEW, seed=0, split="test"), FEW)
    kinds = tasks.get(task).kinds(pair.base.tokenizer)
    at_boundaries = DisagreementGate(boundaries=True)
    words = rm.Hybrid(pair, gate=at_boundaries, selector=OfThinking(), executor=Takeover(), kinds=kinds)
    only_kinds = splice(onset=pair.thinking, executor=pair.base, task=task)
    decode = rm.Decode(max_new_tokens=224)
    base, by_kinds, by_words = (
        rm.grade(rm.generate(who, problems, decode=decode, progress=False)).mean()
        for who in (pair.base, only_kinds, words)
    )
    assert base < 0.3 and by_kinds < 0.3 and by_words > 0.9


def recovered(name: str) -> float:
    """Share of the gap that vectors trained for every category close, fired where the models disagree."""
    pair = rm.load_pair(name)
    kinds = tasks.get(pair.task).kinds(pair.base.tokenizer)
    decode = rm.Decode(max_new_tokens=160, batch_size=128)
    fitting = rm.load_task(pair.task, n=32, seed=1, split="train")
    rollouts = rm.generate(pair.thinking, fitting, decode=decode, progress=False)
    config = VectorConfig(steps=60)
    site = f"resid_post.{pair.steering_layer}"
    vectors = train_vectors(pair.base, site, rollouts, kinds=kinds, config=config, progress=False).vectors
    problems = shortest(rm.load_task(pair.task, n=96, seed=0), FEW)
    hybrid = rm.Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=vectors)
    base, thinking, full = (
        rm.grade(rm.generate(who, problems, decode=decode, progress=False)).mean()
        for who in (pair.base, pair.thinking, hybrid)
    )
    return float((full - base) / (thinking - base))


def test_steering_recovers_the_gap_of_tiny_when_and_not_of_tiny_how() -> None:
    assert recovered("tiny-when") >= 0.9
    assert recovered("tiny-how") <= 0.1
