"""Where there is nothing to find, trained coders find about nothing: of 20 seeds at least 17 stay silent."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from reasonmech.coders import CoderConfig, SparseCoder, train_coder
from reasonmech.hosts import Host, load_host
from reasonmech.labels import Labels, Opportunity
from reasonmech.locate import Search, locate, select
from reasonmech.locate.falsify import (
    Baselines,
    Corpus,
    Counterexamples,
    Crossed,
    Residualised,
    falsify,
    random_twin,
)
from reasonmech.organisms.ground_truth.chain_examples import ChainExamples
from reasonmech.rollout import Rollouts
from reasonmech.runtime import Activations, Decode, capture, generate
from reasonmech.tasks import load_task, parse

pytestmark = pytest.mark.slow

SITE = "resid_post.3"
SEEDS = range(20)
SILENT = 17
Read = tuple[Activations, SparseCoder]


@pytest.fixture(scope="module")
def rollouts() -> Rollouts:
    problems = load_task("chain", n=120, seed=7, split="train")
    decode = Decode(max_new_tokens=224, temperature=1.0, samples=2, batch_size=240)
    return generate(load_host("organism:tiny-when/thinking"), problems, decode=decode, progress=False)


@pytest.fixture(scope="module")
def labels(rollouts: Rollouts) -> Labels:
    """The ends of checks; positive where the author then gives the standing value up."""
    rows = [
        [
            Opportunity(b.start, b.relation == "revises")
            for a, b in pairwise(t.sentences)
            if a.relation == "verifies"
        ]
        for t in parse(rollouts)
    ]
    return Labels.from_opportunities("backtrack", rollouts, rows)


def read(host: Host, rollouts: Rollouts, seed: int) -> Read:
    config = CoderConfig(architecture="topk", d_sae=256, k=8, steps=120, batch_size=512, lr=3e-3, seed=seed)
    acts = capture(host, rollouts, [SITE], progress=False)
    return acts, train_coder(acts, config, progress=False)


def found(acts: Activations, labels: Labels, coder: SparseCoder, seed: int) -> list[int]:
    """Features that go with the labels at a false-discovery rate of 5 %."""
    frame = locate(acts, labels, coder, search=Search(top=4, draws=200, seed=seed)).frame
    passing = frame[(frame["kind"] == "feature") & (frame["sign"] > 0) & (frame["p_adjusted"] <= 0.05)]
    return [int(feature) for feature in passing["feature"]]


def test_a_coin_is_not_found_in_a_trained_model(rollouts: Rollouts, labels: Labels) -> None:
    """Two arms of one model (A/A): labels are drawn by a coin, so whatever passes is a false discovery."""
    host, silent, real = load_host("organism:tiny-when/base"), 0, 0
    for seed in SEEDS:
        acts, coder = read(host, rollouts, seed)
        coin = np.random.default_rng(seed).random(len(labels)) < labels.positive.mean()
        silent += not found(acts, replace(labels, positive=coin), coder, seed)
        real += bool(found(acts, labels, coder, seed))
    assert real == len(SEEDS), "the same search finds what is there"
    assert silent >= SILENT


def test_nothing_survives_in_a_model_that_never_learnt(rollouts: Rollouts, labels: Labels) -> None:
    base, grammar, silent = load_host("organism:tiny-when/base"), ChainExamples(), 0
    for seed in SEEDS:
        host = random_twin(base, seed=seed)
        acts, coder = read(host, rollouts, seed)
        search = Search(top=4, draws=200, seed=seed)
        table, corpus = locate(acts, labels, coder, search=search), Corpus(acts, labels, rollouts, search)
        attempts = [
            Crossed(host, grammar.crossed(60)),
            Residualised(corpus),
            Baselines(corpus),
            Counterexamples(host, grammar, n=60),
        ]
        silent += not falsify(table, coder, attempts=attempts, k=3).survivors
    assert silent >= SILENT


def test_the_same_attempts_leave_something_in_the_trained_model(rollouts: Rollouts, labels: Labels) -> None:
    host, grammar = load_host("organism:tiny-when/base"), ChainExamples()
    acts, coder = read(host, rollouts, 0)
    search = Search(top=4, draws=200)
    table = locate(acts, labels, coder, search=search)
    assert select(table, 1, coder=coder)
    corpus = Corpus(acts, labels, rollouts, search)
    attempts = [Crossed(host, grammar.crossed(60)), Residualised(corpus), Baselines(corpus)]
    assert falsify(table, coder, attempts=attempts, k=3).survivors
