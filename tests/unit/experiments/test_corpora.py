"""A coder reads documents of its own pair's world, or none are drawn."""

from __future__ import annotations

import pytest

import reasonmech as rm
from reasonmech.errors import ConfigError
from reasonmech.experiments import load_experiment
from reasonmech.experiments.stages.corpora import chain, check_corpus, draw_corpus
from reasonmech.tasks.chain.world import WORLDS


def own(pair: str, task: str, n: int = 60) -> list[str]:
    return draw_corpus("own", pair, task, n=n, seed=0)


def test_the_own_documents_of_the_first_pair_are_those_of_the_corpus_that_it_was_pretrained_on() -> None:
    assert own("tiny-when", "chain") == chain(60, 0) == own("a pair of a file", "chain")


def test_every_organism_reads_its_own_world() -> None:
    for name in rm.organisms.recipes.kinds():
        documents = own(name, str(rm.load_pair(name).task))
        assert len(documents) == 60, name
    swapped, forms, both = (" ".join(own(n, t)) for n, t in (
        ("tiny-swap", "chain-swap"), ("tiny-forms", "chain-forms"), ("tiny-both", "chain-novel"),
    ))  # fmt: skip
    assert " blick " in swapped and " then " in forms and " @ " in both
    assert " blick " not in " ".join(own("tiny-when", "chain"))


def test_documents_of_another_world_are_refused_before_anything_runs() -> None:
    for world in WORLDS[1:]:
        with pytest.raises(ConfigError, match="corpus: own"):
            check_corpus("chain", "any", world.name)
        assert own("a pair of a file", world.name)
    with pytest.raises(ConfigError, match="nobody knows what the base"):
        check_corpus("own", "a pair of a file", "counting")
    check_corpus("none", "a pair of a file", "counting")
    experiment = load_experiment(
        "smoke", ["pair=tiny-swap", "task.kind=chain-swap", "stages.coders.corpus=chain"]
    )
    with pytest.raises(ConfigError, match="holds documents of task 'chain'"):
        rm.run(experiment, out="never", progress=False)
