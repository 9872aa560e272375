"""Texts of the chain's grammar: contexts differ in one digit, and the task's own parser agrees with their
labels."""

from __future__ import annotations

from collections import Counter

import pytest

from reasonmech.behaviours.backtrack import contradicted
from reasonmech.errors import DataError
from reasonmech.organisms.ground_truth.chain_examples import PLACEBOS, STORY, ChainExamples
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.tasks.chain.grammar import VOCABULARY
from reasonmech.tasks.chain.parser import parse
from reasonmech.tasks.chain.world import CHAIN, SWAPPED


def _words(ids: tuple[int, ...]) -> list[str]:
    return [VOCABULARY[i] for i in ids]


def _sentences(ids: tuple[int, ...], world):
    """Sentences of what follows the prompt."""
    words = _words(ids)
    start = words.index("A") + 2 if "A" in words else 0
    said = ids[start:]
    flags = (False,) * len(said)
    rollout = Rollout(
        Problem("p", "", ""), 0, ids[:start], said, flags, flags, "length", " ".join(words[start:])
    )
    return parse(rollout, world.kind_of_word).sentences


@pytest.mark.parametrize("world", [CHAIN, SWAPPED])
def test_contexts_differ_in_the_value_that_stands_and_in_nothing_else(world) -> None:
    texts = ChainExamples(world).crossed(40, seed=3)
    for text in texts:
        differ = [i for i, (a, b) in enumerate(zip(text.neutral, text.behaviour, strict=True)) if a != b]
        assert len(differ) == 2 and differ[1] == len(text.neutral) - 2  # the step's value, and its read-back
        assert contradicted(_sentences(text.behaviour, world)) and not contradicted(
            _sentences(text.neutral, world)
        )
        assert _words(text.cue) == ["wait"] and _words(text.placebo)[0] in PLACEBOS
        assert _words(text.after)[0] == "next"
    assert len({text.problem for text in texts}) == 40 and len({text.neutral for text in texts}) > 30
    assert texts == ChainExamples(world).crossed(40, seed=3) != ChainExamples(world).crossed(40, seed=4)


@pytest.mark.parametrize("world", [CHAIN, SWAPPED])
def test_labels_are_what_the_parser_finds(world) -> None:
    examples = ChainExamples(world).examples(60, seed=0)
    for example in examples:
        assert _words(example.ids)[-1] == "." and example.stop == len(example.ids)
        if example.why != STORY:  # a story states nothing
            assert contradicted(_sentences(example.ids, world)) == example.positive, _words(example.ids)
        else:
            assert not example.positive and "wait" in _words(example.ids[example.start : example.stop])
    assert sum(example.positive for example in examples) == 30
    assert len(Counter(example.why for example in examples)) == 6


def test_a_cue_must_be_a_word() -> None:
    with pytest.raises(DataError, match="banana"):
        ChainExamples(cue="banana")
