"""Sentences of a kind are a behaviour in any trace; what reads a chain's values refuses other texts."""

from __future__ import annotations

import pytest

import reasonmech as rm
from reasonmech.behaviours import SentencesOfKind, TraceColumns, agreement, behaviours, label, onset_rate
from reasonmech.behaviours.base import sentence_at, spans_with_word
from reasonmech.errors import ArgumentError, DataError, UnknownNameError
from reasonmech.labels import Opportunity, Span
from reasonmech.rollout import Rollout, Sentence, Trace
from reasonmech.tasks.chain import ChainSentence, chain_trace
from reasonmech.taxonomies.text import Annotation, by_words, cut, text_trace
from tests.unit.tasks.chain_text import CAREFUL, rollout, trace
from tests.unit.taxonomies.real_text import byte_tokenizer, written

PROSE = "Okay, so I need to find x. Let me try x = 5.\nWait, that is wrong. So x is 3."


def annotation(text: str = PROSE, *, stop: str = "eos") -> Annotation:
    rolled = written(text)
    rolled = Rollout(**{**vars(rolled), "stop": stop})
    return by_words(cut(rolled, byte_tokenizer()), "venhoff")


def test_a_trace_of_prose_is_a_trace() -> None:
    (prose,) = annotation().traces
    assert isinstance(prose, Trace) and all(isinstance(s, Sentence) for s in prose.sentences)
    assert "".join(prose.words) == prose.rollout.text and len(prose.words) == len(prose.rollout.ids)
    assert [prose.text_of(s) for s in prose.sentences] == [s.text for s in prose.sentences]
    assert {s.kind for s in prose.sentences} == {"other"}
    chain = trace(CAREFUL)
    assert chain.text_of(chain.sentences[0]) == "next one + 4 : 8 + 4 = 5 ."


def test_an_end_of_text_token_is_a_stop_in_prose_too() -> None:
    (prose,) = cut(written("So x is 3.<|end|>"), byte_tokenizer())
    assert [(s.text, s.kind) for s in prose.sentences] == [("So x is 3.", "other"), ("<|end|>", "stop")]


def test_labels_of_prose_point_at_the_token_before_each_sentence() -> None:
    words = annotation()
    traces, backtracking = words.with_kinds(), words.behaviour("backtracking")
    labels = label(traces, backtracking)
    first, sentences = len(traces[0].rollout.prompt_ids), traces[0].sentences
    assert labels.position.tolist() == [first + s.start - 1 for s in sentences]
    assert labels.positive.tolist() == [s.text.startswith("Wait") for s in sentences]
    assert labels.positive.sum() == 1 and labels.behaviour == "backtracking"
    recognises = rm.label(traces, backtracking, mode="recognises")
    span = next(s.tokens for s in sentences if s.text.startswith("Wait"))
    assert recognises.positive.tolist() == [t in range(*span) for t in range(len(traces[0].rollout.ids))]
    assert onset_rate(traces, backtracking) == (1, len(sentences))


def test_a_sentence_of_two_categories_is_a_sentence_of_each() -> None:
    words = annotation("Wait, maybe I made a mistake. So x is 3.")
    traces = words.with_kinds()
    both = frozenset({"uncertainty-estimation", "backtracking"})
    assert both <= traces[0].sentences[0].categories and traces[0].sentences[0].kind in both
    for category in both:
        assert label(traces, words.behaviour(category)).positive.tolist() == [True, False]


def test_the_last_sentence_of_prose_that_was_cut_off_is_no_opportunity() -> None:
    ended, broken = annotation(), annotation(stop="length")
    n = len(ended.traces[0].sentences)
    for words, expected in ((ended, n), (broken, n - 1)):
        assert len(words.behaviour("deduction").opportunities(words.with_kinds()[0])) == expected


def test_kinds_of_a_task_are_behaviours_by_name_alone() -> None:
    chain = trace(CAREFUL)
    checks = SentencesOfKind("check")
    assert checks.spans(chain) == behaviours.get("check").spans(chain)
    every = [Opportunity(s.start, s.kind == "check") for s in chain.sentences]
    assert checks.opportunities(chain) == every and not checks.functional
    kappa = agreement(chain, checks, onset_words={"check": ["check", "check again"]})
    assert (kappa.both, kappa.only_first, kappa.only_second) == (2, 0, 0)
    columns = TraceColumns([chain], (checks,))(0, chain.rollout)
    assert set(columns["onset"]) == {"", "check"}
    with pytest.raises(DataError, match="nothing says whether"):
        rm.behaviours.verified_rate(chain, checks)


@pytest.mark.parametrize("name", ["check", "backtrack", "step", "plan", "uncertain", "conclude"])
def test_behaviours_of_the_chain_world_refuse_prose(name: str) -> None:
    prose = annotation().traces
    with pytest.raises(DataError, match="states no value") as raised:
        label(prose, name)
    assert "chain" in raised.value.allowed and "SentencesOfKind" in raised.value.do
    for method in (behaviours.get(name).spans, behaviours.get(name).opportunities):
        with pytest.raises(DataError, match="TextSentence"):
            method(prose[0])


def test_prose_and_chain_traces_are_told_apart() -> None:
    prose, chain = annotation().traces[0], trace(CAREFUL)
    assert text_trace(prose) is prose and chain_trace(chain) is chain
    assert all(isinstance(s, ChainSentence) for s in chain.sentences)
    with pytest.raises(DataError, match="a ChainSentence, without characters"):
        by_words(chain, "venhoff")
    with pytest.raises(UnknownNameError, match="category"):
        annotation().behaviour("backtrack")
    with pytest.raises(UnknownNameError, match="taxonomy 'venhof'"):
        by_words(prose, "venhof")


def test_label_says_what_it_takes() -> None:
    chain = trace(CAREFUL)
    with pytest.raises(ArgumentError, match=r"traces\[0\] is a Rollout") as raised:
        label([rollout(CAREFUL)], "check")  # type: ignore[list-item]
    assert "rm.parse" in raised.value.allowed
    with pytest.raises(ArgumentError, match="behaviour is the function") as raised:
        label(chain, lambda trace: [])  # type: ignore[arg-type]
    assert "backtrack" in raised.value.allowed and "opportunities" in raised.value.allowed
    with pytest.raises(UnknownNameError, match="mode of labels 'recognizes'"):
        label(chain, "check", mode="recognizes")  # type: ignore[arg-type]
    assert (label(chain, "check").position == label([chain], behaviours.get("check")).position).all()


def test_words_are_found_between_word_boundaries_and_phrases_across_tokens() -> None:
    (prose,) = annotation("Wait, I await it. No wait here. Hold on, no.").traces
    starts = [s.start for s in prose.sentences]
    assert [span.start for span in spans_with_word(prose, "wait")] == starts[:2]
    assert [span.start for span in spans_with_word(prose, ["await", "hold on"])] == [starts[0], starts[2]]
    assert spans_with_word(prose, None) == spans_with_word(prose, []) == []
    with pytest.raises(DataError, match="no sentence of Trace"):
        sentence_at(prose, Span(1, 2))


def test_values_show_themselves_in_one_line() -> None:
    words = annotation()
    for value in (words, words.traces[0], words.traces[0].rollout, trace(CAREFUL)):
        assert "\n" not in repr(value) and len(repr(value)) < 140


@pytest.mark.parametrize(
    ("words", "text", "says"),
    [
        ("wait", "WAIT, no.", True),
        ("wait", "(wait)", True),
        ("wait", "we await it", False),
        ("wait", "a waiter", False),
        ("let me", "Let  me see", True),
        ("let me", "let\u00a0me see", True),
        ("let's", "Let’s see", True),
        ("let’s", "let's see", True),
        ("等等", "我等等看", True),
        ("7", "it is 17", False),
        ("7", "it is 7.", True),
        (["wait", "wait for"], "I wait for it", True),
        ("학교", "학교에서 왔다", True),  # a particle is glued to its word
        ("학교", "중학교에서 왔다", False),
    ],
)
def test_words_are_looked_for_in_characters_between_borders(
    words: str | list[str], text: str, says: bool
) -> None:
    no = (False,)
    rollout = Rollout(rm.Problem("p", "", ""), 0, (1,), (5,), no, no, "eos", text)
    trace = Trace(rollout, (Sentence("other", 0, 1),), (text,), separator="")
    assert bool(spans_with_word(trace, words)) == says
