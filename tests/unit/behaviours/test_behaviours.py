"""Behaviours are what a sentence does, not the word it begins with."""

from __future__ import annotations

import pytest

from reasonmech.behaviours import behaviours, label, onset_rate, verified_rate
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.labels import Labels, Opportunity
from reasonmech.organisms.ground_truth.slips import slips_undone
from tests.unit.tasks.chain_text import CAREFUL, CARELESS, GUESS, rollout, trace


def starts(behaviour: str, text: str) -> list[str]:
    """The words with which the spans of a behaviour begin."""
    parsed = trace(text)
    return [" ".join(parsed.words[s.start : s.stop][:2]) for s in behaviours.get(behaviour).spans(parsed)]


def onsets(behaviour: str, text: str) -> list[bool]:
    return [o.onset for o in behaviours.get(behaviour).opportunities(trace(text))]


def test_spans() -> None:
    assert starts("check", CAREFUL) == ["check :", "check again"]
    assert starts("backtrack", CAREFUL) == ["wait ,"]
    assert starts("step", CAREFUL) == ["next one", "next two", "next three"]
    assert starts("conclude", CAREFUL) == ["so the"]
    assert starts("uncertain", CARELESS) == ["hmm ,"]
    assert starts("check", CARELESS) == starts("backtrack", CARELESS) == []


def kept(text: str) -> str:
    """The same, but the second step starts from the first one's slip."""
    return text.replace("2 * 3 = 6", "5 * 3 = 5").replace("[6]", "[5]").replace("6 - 1 = 5", "5 - 1 = 4")


def test_opportunities() -> None:
    assert onsets("check", CAREFUL) == [True, True, False], "the third step is never verified"
    assert onsets("check", CARELESS) == [False, False, False, False], "a hedge leaves the step unverified"
    assert onsets("backtrack", CAREFUL) == [True], "a confirmation is no opportunity"
    dropped = CAREFUL.replace("wait , redo : 8 + 4 = 2 . ", "")
    assert onsets("backtrack", dropped) == [True], "the next step starts from what the check found"
    assert onsets("backtrack", kept(dropped)) == [False], "and here from what stands"
    assert onsets("plan", CAREFUL) == [False] and onsets("plan", "plan : 3 steps . " + CAREFUL) == [True]


def test_backtracking_needs_no_marker_word_and_a_marker_word_is_no_backtracking() -> None:
    silent = CAREFUL.replace("wait , redo : 8 + 4 = 2", "redo : 8 + 4 = 2")
    assert starts("backtrack", silent) == ["redo :"] and onsets("backtrack", silent) == [True]
    filler = kept(CAREFUL.replace("wait , redo : 8 + 4 = 2 . ", "wait , not sure . "))
    assert starts("backtrack", filler) == [] and onsets("backtrack", filler) == [False, False]


def test_verifiers() -> None:
    assert verified_rate([trace(CAREFUL)], "check").value == 1.0
    wrong = CAREFUL.replace("wait , redo : 8 + 4 = 2", "wait , redo : 8 + 4 = 3")
    assert verified_rate([trace(wrong)], "backtrack") == (0, 1)
    assert verified_rate([trace(CAREFUL)], "step") == (2, 2), "a slip is the environment's, not the model's"
    assert verified_rate([trace(CAREFUL.replace("6 - 1 = 5", "6 - 1 = 4"))], "step") == (1, 2)
    assert verified_rate([trace("plan : 3 steps . " + CAREFUL)], "plan").value == 1.0
    assert verified_rate([trace("plan : 4 steps . " + CAREFUL)], "plan").value == 0.0
    assert verified_rate([trace(CARELESS)], "conclude").value == 0.0
    assert not behaviours.get("uncertain").functional


def test_a_cut_off_text_offers_no_opportunity_at_its_end() -> None:
    assert onsets("check", "next one + 4 : 8 + 4 = 2 .") == []
    assert onsets("check", "next one + 4 : 8 + 4 = 2 . check : 8") == [], (
        "an unfinished sentence tells nothing"
    )
    assert onsets("check", "next one + 4 : 8 + 4 = 2 . check : 8 + 4 = 2 [,] [had] [2] [.]") == [True]


def test_slips_undone() -> None:
    assert slips_undone([trace(CAREFUL)]) == (1, 1)
    assert slips_undone([trace(CARELESS)]) == (0, 1)
    late = CARELESS.replace("hmm , maybe .", "wait , redo one : 8 + 4 = 2 .")
    assert slips_undone([trace(late)]) == (0, 1), "undone only counts before the next step"
    wrong = CAREFUL.replace("wait , redo : 8 + 4 = 2", "wait , redo : 8 - 4 = 4")
    assert slips_undone([trace(wrong)]) == (0, 1), "another equation undoes nothing"
    twice = CAREFUL.replace(
        "wait , redo : 8 + 4 = 2 .", "wait , redo : 8 + 4 = 3 . wait , redo : 8 + 4 = 2 ."
    )
    assert slips_undone([trace(twice)]) == (1, 1), "the last repair counts"


def test_labels_point_at_the_token_before_the_onset() -> None:
    rolled = rollout(CAREFUL)
    labels = label([trace(CAREFUL)], "check")
    words = [*rolled.problem.prompt.split(), *trace(CAREFUL).words]
    assert [words[p] for p in labels.position] == [".", ".", "."]
    assert [words[p + 1] for p in labels.position] == ["check", "check", "so"]
    assert labels.positive.tolist() == [True, True, False] and labels.mode == "anticipates"
    inside = label([trace(CAREFUL)], "backtrack", mode="recognises")
    assert " ".join(words[p] for p in inside.position[inside.positive]) == "wait , redo : 8 + 4 = 2 ."
    checks = label([trace(CAREFUL)], "check", mode="recognises")
    assert "had" not in [words[p] for p in checks.position], "what the environment wrote is no row"


def test_labels_from_your_own_spans_are_checked() -> None:
    rolled = rollout(GUESS)
    assert (
        Labels.from_spans("mine", [rolled], [[(1, 3)]]).positive.tolist() == [False, True, True] + [False] * 4
    )
    with pytest.raises(DataError, match="0 <= start < stop <= 7"):
        Labels.from_spans("mine", [rolled], [[(4, 8)]])
    with pytest.raises(DataError, match="one list per rollout"):
        Labels.from_spans("mine", [rolled], [])
    with pytest.raises(DataError, match="no labelled position"):
        Labels.from_opportunities("mine", [rolled], [[]])
    assert len(Labels.from_opportunities("mine", [rolled], [[Opportunity(0, True)]])) == 1
    with pytest.raises(UnknownNameError, match="backtrack"):
        label([trace(GUESS)], "backtracking")


def test_onset_rate_counts() -> None:
    assert onset_rate([trace(CAREFUL), trace(CARELESS)], "check") == (2, 7)
