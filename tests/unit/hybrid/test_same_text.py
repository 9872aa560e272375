"""Arms of one text are found, all of them and no others; steered first words are counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reasonmech.errors import DataError
from reasonmech.experiments.stages.arm_pairs import pair_notes, pair_table
from reasonmech.hybrid.same_text import FirstWords, first_words, same_texts, sentences
from reasonmech.kinds import sentence_starts
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.tasks.chain import OneWordKinds, word_tokenizer
from reasonmech.tasks.chain.world import CHAIN

TOKENIZER = word_tokenizer()
KINDS = OneWordKinds(CHAIN.onset_words, TOKENIZER)


def rollout(text: str, problem: int = 0, sample: int = 0, steered: str = "", written: str = "") -> Rollout:
    ids = tuple(TOKENIZER.convert_tokens_to_ids(text.split()))
    flags = [tuple(word in marked.split() for word in text.split()) for marked in (steered, written)]
    return Rollout(Problem(str(problem), "", ""), sample, (1,), ids, flags[1], flags[0], "eos", text)


def answers(*texts: str) -> list[Rollout]:
    return [rollout(text, i) for i, text in enumerate(texts)]


def test_every_pair_of_arms_is_compared_on_whole_problems() -> None:
    two_samples = [rollout("next . so", 0, 0), rollout("so", 0, 1), rollout("so", 1, 0), rollout("so", 1, 1)]
    other = [replace(two_samples[0], ids=two_samples[1].ids), *two_samples[1:]]
    (pair,) = same_texts({"a": two_samples, "b": other})
    assert (pair.arm, pair.other, pair.equal, pair.n) == ("a", "b", 1, 2), (
        "one sample differs: no equal problem"
    )
    assert str(pair) == "a writes what b writes on 1 of 2 problems"


def test_arms_that_write_one_text_are_named_together_and_nearly_equal_ones_by_pair() -> None:
    one = answers(*["next . so"] * 20)
    nearly, other = [*one[:-1], rollout("so", 19)], answers(*["so"] * 20)
    pairs = same_texts({"full": one, "clamp": one, "takeover": one, "nearly": nearly, "other": other})
    assert len(pairs) == 10
    assert sentences(pairs) == [
        "full, clamp and takeover write one text on 20 of 20 problems",
        "full writes what nearly writes on 19 of 20 problems",
    ]
    table = pair_table(pairs).set_index(["arm", "other"])
    assert table.one_text.sum() == 6 and table.loc[("nearly", "other"), "n_equal"] == 1


def test_where_every_steered_token_is_a_first_word_of_takeovers_text_it_is_said() -> None:
    one, other = answers("next . so", "so"), answers("so", "next . so")
    pairs = same_texts({"full": one, "takeover": one, "null": other})
    all_first = {"full": FirstWords(3, 3), "takeover": FirstWords(3, 3), "null": FirstWords(3, 3)}
    lines = pair_notes(pairs, all_first).lines
    assert lines[0] == "full writes what takeover writes on 2 of 2 problems"
    assert "3 of 3 steered tokens are first words" in lines[1] and "hand over" in lines[1] and len(lines) == 2
    assert len(pair_notes(pairs, all_first | {"full": FirstWords(1, 3)}).lines) == 1, (
        "inside sentences: no token"
    )


def test_steered_first_words_are_counted_among_what_the_model_chose() -> None:
    text = "next one + 1 : 2 + 1 = 3 . check : 2 . so the answer is 3 ."
    assert first_words([rollout(text, steered="next check the")], KINDS) == FirstWords(2, 3)
    assert first_words([rollout(text, steered="next check the", written="check the")], KINDS) == FirstWords(
        1, 1
    )


def test_starts_of_many_texts_equal_those_of_each_alone() -> None:
    texts = [rollout("next one . check : 2 . so"), rollout("so"), rollout("next . next . .")]
    for starts, text in zip(sentence_starts(KINDS, [t.ids for t in texts]), texts, strict=True):
        (alone,) = sentence_starts(KINDS, [text.ids])
        tracker, one_by_one = KINDS.track(1), []
        for token in text.ids:
            one_by_one.append(bool(tracker.boundary[0]))
            tracker.advance(torch.tensor([token]))
        assert starts.tolist() == alone.tolist() == one_by_one
    assert sentence_starts(KINDS, []) == []


def test_arms_of_other_problems_are_refused() -> None:
    with pytest.raises(DataError, match="did not answer the same problems"):
        same_texts({"a": answers("so", "so"), "b": answers("so")})
