"""Hand-written traces: what each behaviour does, what its word says, and whether it did its job, told
apart."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from reasonmech.behaviours import behaviours
from reasonmech.labels import Span
from reasonmech.rollout import Trace
from reasonmech.tasks.chain import ONSET_WORDS
from reasonmech.tasks.chain.parser import parse
from reasonmech.tasks.chain.world import SWAPPED
from tests.unit.tasks.chain_text import rollout, trace

SLIP = "next one + 4 : 8 + 4 = [5] . check : 8 + 4 = 2 [,] [had] [5] [.] "
RIGHT = "next one + 4 : 8 + 4 = 2 . "
REST = "next two * 3 : 2 * 3 = 6 . next three - 1 : 6 - 1 = 5 . "
KEPT = "next two * 3 : 5 * 3 = 5 . next three - 1 : 5 - 1 = 4 . "  # goes on from the value that stands
END = "so it is 5 . <eos>"


class Case(NamedTuple):
    """A trace, and the sentences (by number) in which a behaviour happens, is said to happen, and did its
    job."""

    behaviour: str
    text: str
    does: list[int]
    says: list[int]
    verified: list[int]


CASES = {
    "backtrack, marked": Case("backtrack", SLIP + "wait , redo : 8 + 4 = 2 . " + REST + END, [2], [2], [2]),
    "backtrack, marked and wrong": Case(
        "backtrack", SLIP + "wait , redo : 8 + 4 = 3 . " + REST + END, [2], [2], []
    ),
    "backtrack without a marker": Case("backtrack", SLIP + "redo : 8 + 4 = 2 . " + REST + END, [2], [], [2]),
    "backtrack in the words of a step": Case("backtrack", SLIP + RIGHT + REST + END, [2], [], [2]),
    "wait for me": Case("backtrack", SLIP + "wait for me , said mia . " + KEPT + END, [], [2], []),
    "wait, not sure": Case("backtrack", SLIP + "wait , not sure . " + KEPT + END, [], [2], []),
    "backtrack without a word": Case("backtrack", SLIP + REST + END, [2], [], [2]),
    "wait, and then without a word": Case(
        "backtrack", SLIP + "wait , not sure . " + REST + END, [3], [2], [3]
    ),
    "backtrack to a wrong value": Case(
        "backtrack", SLIP.replace("= 2", "= 3") + "next two * 3 : 3 * 3 = 9 . " + END, [2], [], []
    ),
    "wait in the middle": Case("backtrack", RIGHT + "said mia , wait for me . " + REST + END, [], [1], []),
    "wait before a check": Case("backtrack", RIGHT + "wait : 8 + 4 = 2 , had 2 . " + REST + END, [], [1], []),
    "wait before a first step": Case("backtrack", "wait one + 4 : 8 + 4 = 2 . " + REST + END, [], [0], []),
    "wait without an equation": Case("backtrack", SLIP + "wait , that was off . " + END, [], [2], []),
    "check, marked": Case("check", SLIP + END, [1], [1], [1]),
    "check, marked and wrong": Case("check", RIGHT + "check : 8 + 4 = 3 , had 2 . " + END, [1], [1], []),
    "check without its word": Case("check", RIGHT + "is that : 8 + 4 = 2 , had 2 . " + END, [1], [], [1]),
    "check on the dog": Case("check", RIGHT + "check on the dog , said tom . " + END, [], [1], []),
    "check of nothing yet": Case("check", "check one + 4 : 8 + 4 = 2 . " + END, [], [0], []),
    "step, marked": Case("step", RIGHT + REST + END, [0, 1, 2], [0, 1, 2], [0, 1, 2]),
    "step, wrong": Case(
        "step", RIGHT + REST.replace("6 - 1 = 5", "6 - 1 = 4") + END, [0, 1, 2], [0, 1, 2], [0, 1]
    ),
    "step without its word": Case("step", "then one + 4 : 8 + 4 = 2 . " + END, [0], [], [0]),
    "next the rain came": Case("step", "next the rain came . " + RIGHT + END, [1], [0, 1], [1]),
    "step taken twice": Case("step", RIGHT + RIGHT + END, [0], [0, 1], [0]),
    "conclude, right": Case("conclude", RIGHT + REST + END, [3], [3], [3]),
    "conclude, wrong": Case("conclude", RIGHT + REST + "so it is 4 . <eos>", [3], [3], []),
    "so leo went home": Case("conclude", "so leo went home . " + RIGHT + END, [2], [0, 2], [2]),
    "plan, met": Case("plan", "plan : 3 steps . " + RIGHT + REST + END, [0], [0], [0]),
    "plan, broken": Case("plan", "plan : 4 steps . " + RIGHT + REST + END, [0], [0], []),
    "the plan was": Case("plan", "the plan was to get the dog . " + RIGHT + END, [], [0], []),
    "uncertain, by its word alone": Case("uncertain", RIGHT + "hmm , maybe . " + END, [1], [1], [1]),
    "uncertain without its word": Case("uncertain", RIGHT + "not sure . " + END, [], [], []),
}  # fmt: skip


def numbers(parsed: Trace, spans: list[Span]) -> list[int]:
    return [i for i, s in enumerate(parsed.sentences) if Span(s.start, s.stop) in spans]


@pytest.mark.parametrize("name", CASES)
def test_deed_word_and_verification_are_told_apart(name: str) -> None:
    case = CASES[name]
    parsed, behaviour = trace(case.text), behaviours.get(case.behaviour)
    spans, lexical = behaviour.spans(parsed), behaviour.lexical_spans(parsed, ONSET_WORDS)
    assert numbers(parsed, spans) == case.does
    assert numbers(parsed, lexical) == case.says
    assert numbers(parsed, [span for span in spans if behaviour.verify(parsed, span)]) == case.verified


def test_every_behaviour_has_a_positive_a_negative_and_a_failure_that_its_word_hides() -> None:
    for kind in ONSET_WORDS:
        cases = [case for case in CASES.values() if case.behaviour == kind]
        assert any(case.does and case.does == case.says for case in cases), f"{kind}: word and deed"
        assert any(case.does != case.says for case in cases) or kind == "uncertain", (
            f"{kind}: word without deed, or deed without word"
        )
        if behaviours.get(kind).functional:
            assert any(case.does != case.verified for case in cases), f"{kind}: it happens and fails"


def test_another_world_has_another_word() -> None:
    """In the world where "blick" marks a backtrack, a keyword labeller that knows "wait" is wrong both
    times."""
    text = SLIP + "wait , maybe . blick , redo : 8 + 4 = 2 . " + REST + END
    parsed, backtrack = parse(rollout(text), SWAPPED.kind_of_word), behaviours.get("backtrack")
    assert [s.kind for s in parsed.sentences[:4]] == ["step", "check", "filler", "backtrack"]
    assert numbers(parsed, backtrack.spans(parsed)) == [3]
    assert numbers(parsed, backtrack.lexical_spans(parsed, SWAPPED.onset_words)) == [3]
    assert numbers(parsed, backtrack.lexical_spans(parsed, ONSET_WORDS)) == [2]
