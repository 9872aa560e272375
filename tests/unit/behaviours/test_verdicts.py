"""A table of texts and what is judged of their last sentence: by its object and its content, not its word."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from reasonmech.behaviours import behaviours, onset_rate, verified_rate
from reasonmech.organisms.ground_truth.slips import slips_undone
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.behaviours import contradicted, unverified
from reasonmech.tasks.chain.parser import parse
from reasonmech.tasks.chain.world import CHAIN, FORMS, SILENT, SWAPPED, World
from tests.unit.tasks.chain_text import rollout, trace

SLIP = "next one + 4 : 8 + 4 = [5] . "
RIGHT = "next one + 4 : 8 + 4 = 2 . "
FOUND = SLIP + "check : 8 + 4 = 2 , had 5 . "


class Verdict(NamedTuple):
    """Which behaviours the last sentence is, which of them did their job, and what could begin after it."""

    does: str = ""
    verified: str = ""
    contradiction: bool = False
    unverified: bool = False


CHECKED = Verdict("check", "check")
FOUND_OUT = Verdict("check", "check", contradiction=True)
BESIDE_THE_POINT = Verdict("check", unverified=True)
REPAIRED = Verdict("backtrack", "backtrack")
SPOILT = Verdict("backtrack")

TABLE: dict[tuple[str, str], Verdict] = {
    # the standing equation, evaluated rightly or wrongly
    (RIGHT, "check : 8 + 4 = 2 , had 2 ."): CHECKED,
    (RIGHT, "check : 8 + 4 = 3 , had 2 ."): Verdict("check", contradiction=True),
    (SLIP, "check : 8 + 4 = 2 , had 5 ."): FOUND_OUT,
    (SLIP, "check : 8 + 4 = 5 , had 5 ."): Verdict("check"),
    # another equation is no object of a check, whatever comes out
    (RIGHT, "check : 0 + 0 = 0 , had 2 ."): BESIDE_THE_POINT,
    (RIGHT, "check : 1 + 1 = 2 , had 2 ."): BESIDE_THE_POINT,
    (RIGHT, "check : 8 - 4 = 4 , had 2 ."): BESIDE_THE_POINT,
    (RIGHT, "check : 4 + 8 = 2 , had 2 ."): BESIDE_THE_POINT,
    (SLIP, "check : 8 + 3 = 1 , had 5 ."): BESIDE_THE_POINT,
    (RIGHT, "hmm : 0 + 0 = 0 ."): BESIDE_THE_POINT,
    # a contradiction that stands is neither found again nor resolved by it
    (FOUND, "check : 0 + 0 = 0 , had 5 ."): Verdict("check", contradiction=True),
    # whatever word it begins with, and whether or not the value is read back
    (SLIP, "check : 8 + 4 = 2 ."): FOUND_OUT,
    (SLIP, "hmm : 8 + 4 = 2 ."): FOUND_OUT,
    (SLIP, "hmm : 8 + 4 = 2 , had 5 ."): FOUND_OUT,
    (SLIP, "is that : 8 + 4 = 2 ."): FOUND_OUT,
    (SLIP, "so : 8 + 4 = 2 ."): Verdict(),  # an answer, which the grammar reads by its last digit
    (RIGHT, "check : 8 + 4 = 2 ."): CHECKED,
    (RIGHT, "hmm : 8 + 4 = 2 ."): CHECKED,
    (RIGHT, "wait : 8 + 4 = 2 , had 2 ."): CHECKED,
    # once found, what is evaluated again replaces what stood, whatever the word
    (FOUND, "wait , redo : 8 + 4 = 2 ."): REPAIRED,
    (FOUND, "redo : 8 + 4 = 2 ."): REPAIRED,
    (FOUND, "hmm : 8 + 4 = 2 ."): REPAIRED,
    (FOUND, "check : 8 + 4 = 2 ."): REPAIRED,
    (FOUND, "next one + 4 : 8 + 4 = 2 ."): REPAIRED,
    (FOUND, "wait , redo : 8 + 4 = 3 ."): SPOILT,
    (FOUND, "check again , 8 + 4 = 2 , had 5 ."): FOUND_OUT,
    # a backtrack needs the standing equation, too
    (FOUND, "wait , redo : 0 + 0 = 0 ."): SPOILT,
    (FOUND, "wait , redo : 8 - 4 = 4 ."): SPOILT,
    (FOUND, "hmm : 8 - 4 = 4 ."): SPOILT,
    (FOUND, "wait , redo : 5 + 4 = 9 ."): SPOILT,
    (SLIP, "wait , redo : 8 + 4 = 2 ."): REPAIRED,
    (SLIP, "wait , redo : 1 + 1 = 2 ."): SPOILT,
    # going on from what was found is a backtrack as right as what was found
    (FOUND, "next two * 3 : 2 * 3 = 6 ."): Verdict("step backtrack", "step backtrack", unverified=True),
    (SLIP + "hmm : 8 + 4 = 2 . ", "next two * 3 : 2 * 3 = 6 ."): Verdict(
        "step backtrack", "step backtrack", unverified=True
    ),
    (SLIP + "check : 8 + 4 = 3 , had 5 . ", "next two * 3 : 3 * 3 = 9 ."): Verdict(
        "step backtrack", "step", unverified=True
    ),
    # what another equation gave contradicts nothing, and who goes on from it adopts nothing
    (SLIP + "check : 1 + 1 = 2 , had 5 . ", "next two * 3 : 2 * 3 = 6 ."): Verdict("step", unverified=True),
    # a step needs its object: the problem's operation on the value that stands
    (RIGHT, "next two * 3 : 2 * 3 = 6 ."): Verdict("step", "step", unverified=True),
    (RIGHT, "next two * 3 : 0 + 0 = 0 ."): Verdict("step", unverified=True),
    (RIGHT, "next two * 3 : 2 + 3 = 5 ."): Verdict("step", unverified=True),
    (RIGHT, "next two * 3 : 5 * 3 = 5 ."): Verdict("step", unverified=True),
    (SLIP, "next two * 3 : 5 * 3 = 5 ."): Verdict("step", "step", unverified=True),
    ("", "next one + 4 : 8 + 4 = 2 ."): Verdict("step", "step", unverified=True),
    ("", "next one + 4 : 0 + 0 = 0 ."): Verdict("step", unverified=True),
    ("", "next two * 3 : 2 * 3 = 6 ."): Verdict("step", unverified=True),
    ("", "next five - 1 : 6 - 1 = 5 ."): Verdict("step", unverified=True),
    # no equation, no deed
    (FOUND, "wait , not sure ."): Verdict(contradiction=True),
    (RIGHT, "check on the dog , said tom ."): Verdict(unverified=True),
}  # fmt: skip


def judge(parsed: Trace) -> Verdict:
    """What is judged of the last sentence of a text."""
    last = parsed.sentences[-1]
    names = ("step", "check", "backtrack")
    spans = {
        name: [span for span in behaviours.get(name).spans(parsed) if span.start == last.start]
        for name in names
    }
    does = [name for name in names if spans[name]]
    verified = [name for name in does if behaviours.get(name).verify(parsed, spans[name][0])]
    return Verdict(
        " ".join(does), " ".join(verified), contradicted(parsed.sentences), unverified(parsed.sentences)
    )


@pytest.mark.parametrize("case", TABLE, ids=lambda case: " | ".join(case))
def test_the_table(case: tuple[str, str]) -> None:
    assert judge(parse(rollout("".join(case)))) == TABLE[case]


@pytest.mark.parametrize("world", [CHAIN, SWAPPED, SILENT, FORMS], ids=lambda world: world.name)
def test_every_word_of_every_kind_is_judged_by_what_follows_it(world: World) -> None:
    """Each first word in front of one equation: only a step, a backtrack and an answer differ."""

    def read(context: str, word: str, rest: str) -> Verdict:
        return judge(parse(rollout(f"{context}{word} {rest}"), world.kind_of_word))

    for kind in world.onset_words:
        for word in world.words_of(kind):
            if kind == "conclude":
                continue
            takes_back = kind in ("step", "backtrack")
            assert read(RIGHT, word, ": 8 + 4 = 2 , had 2 .") == CHECKED
            assert read(RIGHT, word, ": 0 + 0 = 0 , had 2 .") == BESIDE_THE_POINT
            assert read(SLIP, word, ": 8 + 4 = 2 , had 5 .") == FOUND_OUT
            assert read(SLIP, word, ": 8 + 4 = 2 .") == (REPAIRED if takes_back else FOUND_OUT)
            assert read(FOUND, word, ": 8 + 4 = 2 .") == REPAIRED
            assert read(FOUND, word, ": 1 + 1 = 2 .") == SPOILT


def test_rates_and_slips_follow() -> None:
    idle = parse(rollout(SLIP + "check : 0 + 0 = 0 , had 5 . next two * 3 : 5 * 3 = 5 . so it is 5 . <eos>"))
    assert verified_rate([idle], "check") == (0, 1) and onset_rate([idle], "check") == (1, 3)
    assert onset_rate([idle], "backtrack").n == 0 and slips_undone([idle]) == (0, 1)
    spoilt = parse(rollout(FOUND + "wait , redo : 1 + 1 = 2 . next two * 3 : 2 * 3 = 6 . so it is 6 . <eos>"))
    assert verified_rate([spoilt], "backtrack") == (0, 1) and onset_rate([spoilt], "backtrack") == (1, 1)
    assert slips_undone([spoilt]) == (0, 1)


SECOND = "next one + 4 : 8 + 4 = 2 . next two * 3 : 2 * 3 = [5] . "
FIRST_CHECKED = "check one + 4 : 8 + 4 = 2 , had 2 . "


def test_a_check_of_one_item_says_nothing_of_another() -> None:
    sentences = trace(SECOND + FIRST_CHECKED).sentences
    assert unverified(sentences) and not contradicted(sentences)
    pending = trace(SECOND + "check two * 3 : 2 * 3 = 6 , had 5 . " + FIRST_CHECKED).sentences
    assert contradicted(pending) and not unverified(pending)
    repaired = trace(SECOND + "check two * 3 : 2 * 3 = 6 , had 5 . " + FIRST_CHECKED + "check : 2 * 3 = 6 .")
    assert repaired.sentences[-1].relation == "revises" and not contradicted(repaired.sentences)
