"""First tokens of behaviours: learnt on some problems, measured on others, and kinds to follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import reasonmech as rm
from reasonmech.behaviours import OnsetSets, definition_of, learn_onset_sets
from reasonmech.errors import (
    ArgumentError,
    ConfigError,
    CorruptFileError,
    DataError,
    MismatchError,
    UnknownNameError,
)
from reasonmech.hosts.characters import token_pieces
from reasonmech.kinds import Openings, opening_categories, sentence_starts
from reasonmech.rollout import Trace
from reasonmech.tasks import tasks
from reasonmech.taxonomies.text import (
    Annotation,
    CategoryByWords,
    FirstTokenKinds,
    TextSentence,
    by_words,
    cut,
    taxonomies,
)
from tests.layouts import layout
from tests.unit.taxonomies.real_text import byte_tokenizer, cut_text, written

BACKTRACKING, DEDUCTION = "words:venhoff/backtracking", "words:venhoff/deduction"


def texts(n: int = 24) -> list[Trace[TextSentence]]:
    """Every third begins its backtracking with another word than "Wait", some deductions with it."""
    made = []
    for i in range(n):
        back = "No, wait, it is 4." if i % 3 == 0 else "Wait, it is 4."
        made.append(cut_text(f"Let x be {i}. {back} So x is 4. It is 3.14 now. So it is.", problem=f"p{i}"))
    return made


def test_a_category_is_a_behaviour_by_its_name() -> None:
    traces = texts()
    words = by_words(traces, "venhoff")
    for category in taxonomies.get("venhoff").names:
        labels = rm.label(traces, f"words:venhoff/{category}")
        marked = rm.label(words.with_kinds(), words.behaviour(category))
        assert np.array_equal(labels.positive, marked.positive)
        assert np.array_equal(labels.position, marked.position)
        assert labels.definition == marked.definition == "lexical"
    assert rm.label(traces, BACKTRACKING).positive.sum() == 24
    assert rm.behaviours.onset_rate(traces, BACKTRACKING) == (24, 24 * 5)
    assert definition_of("check") == "functional" and definition_of(BACKTRACKING) == "lexical"
    chain = rm.tasks.tasks.get("chain")
    assert chain is not None and definition_of("uncertain") == "lexical"


def test_what_a_judge_says_is_functional() -> None:
    words = by_words(texts(), "venhoff")
    judged = Annotation(words.taxonomy, "a judge", words.traces, words.marks)
    behaviour = judged.behaviour("backtracking")
    assert behaviour.functional and rm.label(judged.with_kinds(), behaviour).definition == "functional"
    assert not words.behaviour("backtracking").functional


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("words:venhoff", ConfigError),
        ("words:venhoff/", ConfigError),
        ("words:venhof/backtracking", UnknownNameError),
        ("words:venhoff/backtrack", UnknownNameError),
    ],
)
def test_a_name_of_no_category_is_refused(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        rm.label(texts(1), name)


def test_words_have_no_job() -> None:
    trace = texts(1)[0]
    behaviour = rm.behaviours.behaviours.get(BACKTRACKING)
    assert isinstance(behaviour, CategoryByWords)
    with pytest.raises(DataError, match="did its job"):
        behaviour.verify(trace, behaviour.spans(trace)[0])
    assert behaviour.lexical_spans(trace, {}) == behaviour.spans(trace)


def test_precision_and_recall_are_those_of_the_problems_that_were_held_out() -> None:
    traces = texts()
    learnt = learn_onset_sets(traces, [BACKTRACKING, DEDUCTION, "words:venhoff/initializing"])
    back, so = learnt.of(BACKTRACKING), learnt.of(DEDUCTION)
    first = {traces[1].rollout.ids[s.start] for s in traces[1].sentences if s.text.startswith("Wait")}
    other = {traces[0].rollout.ids[s.start] for s in traces[0].sentences if s.text.startswith("No")}
    assert set(back.tokens) == first | other and back.precision.estimate == back.recall.estimate == 1.0
    assert back.n_problems == 12 and back.n_boundaries == 60 and back.n_onsets == 12
    assert back.base_rate == pytest.approx(0.2) and 0 < back.precision.low < 1
    assert back.random[1] < 0.9 and back.p < 0.2 and so.recall.estimate == 1.0
    assert not set(back.tokens) & set(so.tokens)
    with pytest.raises(DataError, match="begins in 0 problems"):
        learnt.of("words:venhoff/initializing")
    table = learnt.table().set_index("behaviour")
    assert table.loc[BACKTRACKING, "definition"] == "lexical"
    assert {
        "precision",
        "precision.low",
        "recall.high",
        "random.precision",
        "frequent.recall",
        "base_rate",
    } <= {*table}


def test_tokens_that_tell_nothing_are_no_better_than_random_ones() -> None:
    """A behaviour that happens by chance, whatever the word."""
    rng = np.random.default_rng(0)
    traces = texts(60)
    coin = {t.rollout.problem.id: set(rng.integers(0, 5, 2).tolist()) for t in traces}

    class Coin:
        name, functional = "coin", True

        def spans(self, trace: Trace) -> list[rm.behaviours.Span]:
            return []

        def lexical_spans(self, trace: Trace, onset_words: object) -> list[rm.behaviours.Span]:
            return []

        def opportunities(self, trace: Trace) -> list[rm.behaviours.Opportunity]:
            hits = coin[trace.rollout.problem.id]
            return [rm.behaviours.Opportunity(s.start, i in hits) for i, s in enumerate(trace.sentences)]

        def verify(self, trace: Trace, span: rm.behaviours.Span) -> bool:
            return True

    one = learn_onset_sets(traces, [Coin()]).of("coin")
    assert one.definition == "functional"
    assert one.precision.low <= one.base_rate <= one.precision.high and one.p > 0.05


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    learnt = learn_onset_sets(texts(), [BACKTRACKING, "words:venhoff/initializing"])
    learnt.save(tmp_path / "onsets.json")
    assert OnsetSets.load(tmp_path / "onsets.json") == learnt
    (tmp_path / "no.json").write_text('{"what": 1}')
    with pytest.raises(CorruptFileError, match="no onset sets"):
        OnsetSets.load(tmp_path / "no.json")


def test_few_problems_are_refused() -> None:
    with pytest.raises(DataError, match="9 problems"):
        learn_onset_sets(texts(9), [BACKTRACKING])


def test_kinds_follow_a_text_as_it_is_cut() -> None:
    traces = texts()
    kinds = FirstTokenKinds(learn_onset_sets(traces, [BACKTRACKING, DEDUCTION]), byte_tokenizer())
    assert kinds.names == (BACKTRACKING, DEDUCTION, "stop", "other")
    for trace in traces[:4]:
        categories = kinds.label(torch.tensor(trace.rollout.ids))
        for i, sentence in enumerate(trace.sentences):
            (number,) = set(categories[sentence.start : sentence.stop].tolist())
            wanted = BACKTRACKING if i == 1 else DEDUCTION if i in (2, 4) else "other"
            assert kinds.names[number] == wanted, sentence.text
    (starts,) = sentence_starts(kinds, [traces[0].rollout.ids])
    assert starts[0] and all(starts[s.start] for s in traces[0].sentences), "3. may end, and 14 goes on"
    openings = Openings(kinds, len(byte_tokenizer()))
    assert len(openings.tokens) >= 3
    assert (opening_categories(kinds, 320) == 0).sum() == 2
    tracker = kinds.track(2)
    tracker.advance(torch.tensor(traces[0].rollout.ids[:2]))
    tracker.select(torch.tensor([1, 1]))
    assert tracker.category(torch.tensor([0, 0])).shape == (2,)


def test_kinds_of_another_vocabulary_are_refused() -> None:
    learnt = learn_onset_sets(texts(), [BACKTRACKING])
    with pytest.raises(MismatchError, match="vocabulary"):
        FirstTokenKinds(learnt, layout("words"))
    with pytest.raises(DataError, match="no onset set"):
        FirstTokenKinds(OnsetSets((), {}), byte_tokenizer())


def test_a_task_of_prose_with_onset_sets_has_kinds(tmp_path: Path) -> None:
    learn_onset_sets(texts(), [BACKTRACKING, DEDUCTION]).save(tmp_path / "onsets.json")
    task = tasks.get(f"jsonl:{tmp_path}/q.jsonl?onsets={tmp_path}/onsets.json")
    assert BACKTRACKING in task.kinds(byte_tokenizer()).names
    rolled = written("So it is 4. Wait, no. Yes.")
    pieces = tuple(token_pieces(byte_tokenizer(), rolled.ids))
    parsed = task.parse(type(rolled)(**{**vars(rolled), "pieces": pieces, "stop": "length"}))
    assert [s.kind for s in parsed.sentences] == [DEDUCTION, BACKTRACKING, "other"]
    assert [s.start for s in parsed.sentences] == [
        s.start for s in cut([rolled], byte_tokenizer())[0].sentences
    ]
    with pytest.raises(DataError, match="onsets=PATH"):
        tasks.get(f"jsonl:{tmp_path}/q.jsonl").kinds(byte_tokenizer())


def test_no_behaviour_is_none_to_learn() -> None:
    with pytest.raises(ArgumentError, match="no behaviour"):
        learn_onset_sets(texts(), [])
