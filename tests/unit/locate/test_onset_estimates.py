"""P(a behaviour begins) by first tokens and by sampled continuations: one probability."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import reasonmech as rm
from reasonmech.behaviours import OnsetSet, OnsetSets, OnsetWords
from reasonmech.errors import DataError
from reasonmech.hosts.spelling import spelling_of
from reasonmech.labels import Opportunity, Span
from reasonmech.locate import OnsetSampling, onset_estimates
from reasonmech.rollout import Trace
from reasonmech.runtime.decoding.generate import continue_ids
from reasonmech.stats import Interval
from reasonmech.taxonomies.text import TextSentence, cut
from tests.laws.test_sentences_online import written
from tests.layouts import layout, layout_host

BEGINS = frozenset(
    token
    for token in range(len(layout("qwen2")))
    if re.match(rb" ?[A-Z]|\n", spelling_of(layout("qwen2")).piece(token).text)
)


class FirstToken:
    """What a first token decides, and so exactly what its set says."""

    name, functional = "first token", False

    def spans(self, trace: Trace) -> list[Span]:
        return []

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        return []

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return [Opportunity(s.start, trace.rollout.ids[s.start] in BEGINS) for s in trace.sentences]

    def verify(self, trace: Trace, span: Span) -> bool:
        raise AssertionError


def onsets(name: str = "first token") -> OnsetSet:
    sure = Interval(1.0, 1.0, 1.0)
    return OnsetSet(
        name, "lexical", tuple(sorted(BEGINS)), sure, sure, 0.1, (0.1, 0.1), (0.1, 0.1), 0.01, 9, 9, 9
    )


def traces(n: int = 6) -> list[Trace[TextSentence]]:
    texts = [
        written("qwen2", f"Okay, x is {i}. Let me check it! So x is {i}. Wait, no. Yes.") for i in range(n)
    ]
    named = [replace(t, problem=replace(t.problem, id=f"p{i}")) for i, t in enumerate(texts)]
    return cut(named, layout("qwen2"))


def test_both_ways_agree_where_a_first_token_decides() -> None:
    sampling = OnsetSampling(samples=64, max_new_tokens=2, boundaries=15)
    estimates = onset_estimates(
        layout_host("qwen2"), traces(), behaviour=FirstToken(), onsets=onsets(), sampling=sampling
    )
    both = estimates.frame.dropna()
    assert len(both) >= 12 and 0.02 < both.first_tokens.mean() < 0.98
    error = 4 * np.sqrt(0.25 / both.decided.sum())  # four standard errors of a share
    assert abs(both.first_tokens.mean() - both.sampled.mean()) < error + estimates.undecided
    table = estimates.table().set_index("way")
    assert (table.definition == "lexical").all() and len(estimates.table()) == 2
    assert table.tokens_written["first tokens"] == 0
    assert 15 * 64 <= table.tokens_written["sampled continuations"] <= 15 * 64 * 2
    assert table.tokens_read["sampled continuations"] > table.tokens_read["first tokens"]


def test_texts_are_written_on_as_generate_would() -> None:
    host, decode = layout_host("qwen2"), rm.Decode(max_new_tokens=6, temperature=1.0, samples=2)
    ids = host.encode("Okay, let me think. 3 + 4")
    greedy = rm.Decode(max_new_tokens=6)
    assert (
        continue_ids(host, [ids], decode=greedy)[0].ids
        == rm.generate(host, "Okay, let me think. 3 + 4", decode=greedy, progress=False)[0].ids
    )
    assert len(continue_ids(host, [ids, ids[:3]], decode=decode, progress=False)) == 4
    with pytest.raises(DataError, match="1 of them empty"):
        continue_ids(host, [ids, ()], decode=decode)
    with pytest.raises(DataError, match="positions"):
        continue_ids(host, [ids * 200], decode=decode)


def test_the_set_of_another_behaviour_is_refused() -> None:
    with pytest.raises(DataError, match="the set of this behaviour"):
        onset_estimates(layout_host("qwen2"), traces(1), behaviour=FirstToken(), onsets=onsets("other"))


def test_of_several_sets_that_of_the_behaviour_is_taken() -> None:
    sampling = OnsetSampling(samples=2, max_new_tokens=2, boundaries=2)
    several = OnsetSets((onsets("other"), onsets()), {})
    both = [
        onset_estimates(
            layout_host("qwen2"), traces(2), behaviour=FirstToken(), onsets=one, sampling=sampling
        )
        for one in (onsets(), several)
    ]
    assert both[0].frame.equals(both[1].frame)
    with pytest.raises(DataError, match="no onset set of"):
        lacking = OnsetSets((onsets("other"),), {})
        onset_estimates(layout_host("qwen2"), traces(1), behaviour=FirstToken(), onsets=lacking)


def test_continuations_that_come_to_no_end_are_no_estimate() -> None:
    name = "words:venhoff/backtracking"
    sampling = OnsetSampling(samples=2, max_new_tokens=1, boundaries=3)
    with pytest.raises(DataError, match="came to the end"):
        onset_estimates(
            layout_host("qwen2"), traces(1), behaviour=name, onsets=onsets(name), sampling=sampling
        )
