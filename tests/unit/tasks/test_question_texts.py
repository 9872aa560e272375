"""Texts of question tasks: sentences of prose, and what stages that need a grammar are told."""

import json
from dataclasses import replace

import pytest

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.hosts.characters import token_pieces
from reasonmech.rollout import OTHER, STOP
from reasonmech.runtime import Rollout
from reasonmech.tasks import outcomes, tasks
from reasonmech.taxonomies.text import cut, cut_by_pieces
from tests.layouts import LAYOUTS, REAL_TEXT, layout, layout_host
from tests.unit.tasks.text_rollouts import rolled

TEXT = (
    "<think>\nOkay, so $x^2 = 4.$ Wait, x is 3.14? No 🙂🙂.\n\n1. Yes. 是的。好吧。</think>\n\n"
    "The answer is \\boxed{2}."
)
QUESTIONS = [
    {"question": "What is 1 + 1?", "answer": 2},
    {"question": "Was ist 2 + 3?", "answer": "5"},
    {"question": "Was ist die Hälfte von 1? 🙂", "answer": r"\frac{1}{2}"},
    {"question": r"Solve $x - 3 = 0$.", "answer": "x=3"},
    {"question": "How many legs have two dogs? 🐕🐕", "answer": "8"},
    {"question": "Wie viele Beine haben drei Katzen?", "answer": "12"},
    {"question": r"What is $\frac{1}{4} + \frac{1}{4}$?", "answer": "0.5"},
    {"question": "What is 10 % of 50?", "answer": "5"},
    {"question": "Was ist 7 - 9?", "answer": "−2"},
    {"question": "What is 500 + 500?", "answer": "1,000"},
    {"question": r"What is $\sqrt{16}$?", "answer": 4},
    {"question": "Welche Zahl kommt nach 6?", "answer": "7"},
]


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in QUESTIONS), encoding="utf-8")
    return f"jsonl:{path}?split=test"


def written(name, text):
    tokenizer = layout(name)
    ids = tuple(tokenizer.encode(text + str(tokenizer.eos_token), add_special_tokens=False))
    assert ids[-1] == tokenizer.eos_token_id
    no = (False,) * len(ids)
    pieces = tuple(token_pieces(tokenizer, ids))
    return Rollout(rm.Problem("q", "Q", "2"), 0, (1,), ids, no, no, "eos", "".join(pieces), pieces)


@pytest.mark.parametrize("name", REAL_TEXT)
def test_sentences_are_cut_as_with_the_tokenizer(name):
    rollout = written(name, TEXT)
    with_tokenizer, without = cut([rollout], layout(name))[0], cut_by_pieces(rollout)
    assert [(s.start, s.stop, s.text, s.kind) for s in without.sentences] == [
        (s.start, s.stop, s.text, s.kind) for s in with_tokenizer.sentences
    ]
    assert without.words == with_tokenizer.words and len(without.sentences) > 6
    assert {s.kind for s in without.sentences} == {OTHER, STOP}
    grammarless = tasks.get("jsonl:q.jsonl")
    assert grammarless.parse(rollout).sentences == without.sentences
    assert grammarless.grade(rollout)


def test_what_no_token_wrote_is_refused():
    with pytest.raises(DataError, match="pieces of text"):
        cut_by_pieces(replace(rolled("a b c", "1"), pieces=("a",), text="a b c"))


def test_words_that_blanks_part_need_no_pieces():
    rollout = rolled("One . Two .", "1")
    bare = replace(rollout, pieces=(), text=rollout.text.replace("<|end|>", " <|end|>"))
    assert [s.text for s in cut_by_pieces(bare).sentences] == ["One .", "Two .", "<|end|>"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_models_answer_questions_and_are_graded(name, questions):
    if name == "smollm2":
        pytest.skip("tests/integration/test_questions_on_smollm2.py")
    host = layout_host(name)
    problems = rm.load_task(questions, n=12)
    rollouts = rm.generate(host, problems, decode=rm.Decode(max_new_tokens=12), progress=False)
    assert rollouts.task == questions
    counted = outcomes(rollouts)
    assert len(counted) == 12 and counted.right.tolist() == rm.grade(rollouts).tolist()
    assert [trace.rollout for trace in rm.parse(rollouts)] == list(rollouts)


def test_stages_that_need_a_grammar_are_told(questions):
    task = tasks.get(questions)
    with pytest.raises(DataError, match="no first token tells what kind of sentence"):
        task.kinds(layout("qwen2"))
    with pytest.raises(DataError, match="whether an answer was verified"):
        task.verified(task.parse(rolled("5", "5")))
    host = layout_host("qwen2")
    pair = rm.load_pair(base=host, thinking=layout_host("qwen2", seed=1))
    with pytest.raises(DataError, match="cannot be told in tokens of pair"):
        rm.judge(pair, n=300, terms=rm.claims.Terms(task=questions))
