"""What becomes of an answer: right, wrong, unparsed, timeout, truncated."""

import time
from dataclasses import replace

import numpy as np
import pytest

import reasonmech as rm
from reasonmech.runtime import Rollouts
from reasonmech.tasks import AnswerOutcomes, outcomes, tasks
from tests.unit.tasks.text_rollouts import outcomes_of, rolled, rollouts_of

MATH = "jsonl:q.jsonl"
EXACT = "jsonl:q.jsonl?grading=exact"
CASES = [
    (r"\boxed{0.5}", r"\frac{1}{2}", "right"),
    (r"\boxed{\frac{1}{2}}", "0.5", "right"),
    (r"\boxed{\dfrac12}", "0.5", "right"),
    (r"\boxed{½}", "0.5", "right"),
    (r"\boxed{1000}", "1,000", "right"),
    (r"\boxed{1,000}", "1000", "right"),
    ("so 1 000 in all", "1000", "wrong"),  # the last number is 000
    (r"\boxed{1 000}", "1000", "right"),
    (r"\boxed{x=3}", "3", "right"),
    (r"\boxed{3}", "x=3", "right"),
    (r"\boxed{x = 4}", "3", "wrong"),
    (r"\boxed{50\%}", "0.5", "right"),
    (r"\boxed{50\%}", "50", "right"),
    (r"\boxed{51\%}", "50", "wrong"),
    (r"\boxed{[0, 1)}", "[0,1)", "right"),
    (r"\boxed{(0, 1)}", "[0,1)", "wrong"),
    (r"\boxed{(1, 2)}", "(1,2)", "right"),
    (r"\boxed{(2, 1)}", "(1,2)", "wrong"),
    (r"\boxed{5\text{ cm}}", "5", "right"),
    (r"\boxed{5 \text{ cm}}", r"5\text{ cm}", "right"),
    ("The answer is 5 cm.", "5", "right"),
    ("The answer is $18.", "18", "right"),
    ("#### 18", "18.00", "right"),
    (r"\boxed{3} or \boxed{4}", "4", "right"),
    (r"\boxed{3} or \boxed{4}", "3", "wrong"),
    (r"<think>maybe \boxed{5}</think> no: \boxed{6}", "6", "right"),
    (r"<think>\boxed{5}</think>", "5", "unparsed"),
    (r"it is \boxed{5", "5", "unparsed"),
    (r"\boxed{}", "5", "unparsed"),
    ("", "5", "unparsed"),
    ("🙂🙂", "5", "unparsed"),
    ("I do not know.", "5", "unparsed"),
    (r"\boxed{Paris}", "5", "unparsed"),
    (r"\boxed{???}", "5", "unparsed"),
    (r"\boxed{−5}", "-5", "right"),
    ("it is −5.", "-5", "right"),
    (r"\boxed{-5}", "5", "wrong"),
    (r"\boxed{2, 3}", "3, 2", "right"),
    (r"\boxed{(-\infty, 2]}", "(−∞, 2]", "right"),
    (r"\boxed{(-\infty, 2)}", "(−∞, 2]", "wrong"),
    (r"\boxed{x \in [0, 1]}", "[0,1]", "right"),
    ("The answer is 50 percent.", r"50\%", "right"),
    ("The answer is approximately 3.14.", "3.14", "right"),
    ("The answer is x = 3.", "3", "right"),
    (r"\boxed{\{2, 3\}}", r"\{3,2\}", "right"),
    (r"\boxed{3\sqrt{2}}", "3√2", "right"),
    (r"\boxed{1e5}", "100000", "right"),
    (r"\boxed{10^{12}}", "1000000000000", "right"),
    (r"\boxed{(x-1)(x+1)}", "x^2-1", "right"),
    (r"\boxed{\text{even}}", r"\text{Even}", "right"),
    (r"\boxed{\text{neve}}", r"\text{even}", "wrong"),  # no product of letters
    ("even", r"\text{even}", "right"),
    ("答案是 5。", "5", "right"),
    ("Die Antwort ist 5.", "5", "right"),
]


@pytest.mark.parametrize(("text", "gold", "outcome"), CASES)
def test_mathematics(text, gold, outcome):
    rollout = rolled(text, gold)
    assert outcomes_of(MATH, rollout) == [outcome]
    assert tasks.get(MATH).grade(rollout) is (outcome == "right")


def test_what_hangs_is_timeout_and_stops_nothing():
    texts = (r"\boxed{9^{9^{9^9}}}", r"\boxed{5}", r"\boxed{6}")
    begun = time.monotonic()
    rollouts = rollouts_of(MATH + "?deadline=0.3", texts, ("5", "5", "5"))
    assert outcomes(rollouts).each == ("timeout", "right", "wrong")
    assert time.monotonic() - begun < 60
    assert rm.grade(rollouts).tolist() == [False, True, False]


def test_a_text_that_was_cut_off_is_truncated_whatever_it_says():
    for task in (MATH, EXACT, "reasoning_gym:chain_sum"):
        cut = rolled(r"\boxed{5} and", "5", stop="length")
        assert outcomes_of(task, cut) == ["truncated"]


def test_a_stop_string_is_an_end():
    assert outcomes_of(MATH, rolled("5\nQuestion:", "5", stop="token")) == ["right"]


@pytest.mark.parametrize(
    ("text", "gold", "outcome"),
    [
        (r"\boxed{0.5}", r"\frac{1}{2}", "wrong"),
        ("The answer is Paris.", "Paris", "right"),
        ("I think of Rome.\nParis", "Paris", "right"),
        ("The answer is  New   York.", "New York", "right"),
        ("The answer is paris", "Paris", "wrong"),
        ("so it is 5", "5", "right"),
        ("", "Paris", "unparsed"),
        (r"\boxed{}", "Paris", "unparsed"),
        ("巴黎", "巴黎", "right"),
    ],
)
def test_exact(text, gold, outcome):
    assert outcomes_of(EXACT, rolled(text, gold)) == [outcome]


def test_counts_and_shares():
    rollouts = rollouts_of(MATH, (r"\boxed{5}", "6", "", "7"), ("5", "5", "5", "7"))
    counted = outcomes(rollouts)
    assert counted.counts == {"right": 2, "wrong": 1, "unparsed": 1, "timeout": 0, "truncated": 0}
    assert counted.right.tolist() == rm.grade(rollouts).tolist() == [True, False, False, True]
    table = counted.table().set_index("outcome")
    assert table.share.to_dict() == {
        "right": 0.5,
        "wrong": 0.25,
        "unparsed": 0.25,
        "timeout": 0,
        "truncated": 0,
    }
    assert (table.low <= table.share).all() and (table.share <= table.high).all()
    assert "right 2, wrong 1, unparsed 1, timeout 0, truncated 0" in repr(counted)


def test_one_problem_answered_twice_has_no_interval():
    table = AnswerOutcomes("t", ("right", "wrong"), ("a", "a")).table().set_index("outcome")
    assert np.isnan(table.low["right"]) and table.share["right"] == 0.5
    assert AnswerOutcomes("t", (), ()).table().share.isna().all()


def test_a_world_with_a_grammar_has_outcomes_too():
    rollouts = Rollouts([rolled("x", "4", stop="length"), rolled("x", "4", id="b")], task="chain")
    assert outcomes(rollouts).each == ("truncated", "wrong")


@pytest.mark.parametrize(("gold", "outcome"), [("45", "right"), ("4", "wrong")])
def test_a_text_that_ends_without_a_mark_keeps_its_last_token(gold, outcome):
    """What was imported may have no end-of-text token among its ids."""
    marked = rolled("The answer is 45", gold)
    bare = replace(marked, ids=marked.ids[:-1], pieces=marked.pieces[:-1], text="The answer is 45")
    bare = replace(bare, by_environment=(False,) * 4, steered=(False,) * 4)
    assert outcomes_of(MATH, marked, bare) == [outcome, outcome]
