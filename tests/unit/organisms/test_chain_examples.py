"""Texts of the chain's grammar: contexts differ in one digit; the task's parser agrees with the labels."""

from __future__ import annotations

from collections import Counter

import pytest

from reasonmech.errors import DataError
from reasonmech.organisms.ground_truth.chain_examples import PLACEBOS, STORY, ChainExamples
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.tasks.chain.behaviours import contradicted
from reasonmech.tasks.chain.grammar import VOCABULARY
from reasonmech.tasks.chain.parser import parse
from reasonmech.tasks.chain.world import CHAIN, FORMS, SWAPPED


def _words(ids: tuple[int, ...]) -> list[str]:
    return [VOCABULARY[i] for i in ids]


def _sentences(ids: tuple[int, ...], world):
    """Sentences of what follows the prompt."""
    words = _words(ids)
    start = words.index("A") + 2 if "A" in words else 0
    written = ids[start:]
    flags = (False,) * len(written)
    rollout = Rollout(
        Problem("p", "", ""), 0, ids[:start], written, flags, flags, "length", " ".join(words[start:])
    )
    return parse(rollout, world.kind_of_word).sentences


@pytest.mark.parametrize("world", [CHAIN, SWAPPED, FORMS])
def test_contexts_differ_in_the_value_that_stands_and_in_nothing_else(world) -> None:
    texts = ChainExamples(world).crossed(40, seed=3)
    for text in texts:
        differ = [i for i, (a, b) in enumerate(zip(text.neutral, text.behaviour, strict=True)) if a != b]
        assert len(differ) == 2 and differ[1] == len(text.neutral) - 2  # the step's value, and its read-back
        assert contradicted(_sentences(text.behaviour, world)) and not contradicted(
            _sentences(text.neutral, world)
        )
        assert _words(text.cue) == ["wait"] and _words(text.placebo)[0] in PLACEBOS
        assert _words(text.after)[0] in world.words_of("step")
    assert len({text.problem for text in texts}) == 40 and len({text.neutral for text in texts}) > 30
    assert texts == ChainExamples(world).crossed(40, seed=3) != ChainExamples(world).crossed(40, seed=4)


@pytest.mark.parametrize("world", [CHAIN, SWAPPED, FORMS])
def test_an_example_is_positive_where_the_parser_sees_a_contradiction(world) -> None:
    examples = ChainExamples(world).examples(60, seed=0)
    for example in examples:
        assert _words(example.ids)[-1] == "." and example.stop == len(example.ids)
        if example.why != STORY:  # a story states nothing
            assert contradicted(_sentences(example.ids, world)) == example.positive, _words(example.ids)
        else:
            assert not example.positive and "wait" in _words(example.ids[example.start : example.stop])
    assert sum(example.positive for example in examples) == 30
    assert len(Counter(example.why for example in examples)) == 6


def test_a_cue_outside_the_vocabulary_raises() -> None:
    with pytest.raises(DataError, match="banana"):
        ChainExamples(cue="banana")
