"""A part of a mask that looked for words which a run has not is said, though the mask named tokens."""

from __future__ import annotations

import warnings

import pytest
import torch

import reasonmech as rm
from reasonmech.hosts import Host
from reasonmech.interventions import inside
from reasonmech.interventions.masks import Where
from tests.layouts import REAL_TEXT, layout_host

DECODE = rm.Decode(max_new_tokens=4)
TEXT = "Is it so? Answer: yes"
IDLE: dict[str, tuple[Where, str]] = {
    "not inside": (~inside("[think]", "[/think]"), r"inside\(.*\[think\].* marks nothing: no text holds"),
    "or": (rm.prompt() | rm.tokens("Hmm"), r"tokens\(.*Hmm.* marks nothing"),
    "deep": (rm.prompt() & ~(rm.tokens("Hmm") & rm.prompt()), r"tokens\(.*Hmm.* marks nothing"),
}
BUSY: dict[str, Where] = {
    "one item of two": rm.prompt() & ~rm.tokens("Hmm", "so"),
    "there": ~rm.tokens("so"),
    "no words": rm.prompt() | rm.at(1),
}


def direction(host: Host) -> rm.Direction:
    return rm.Direction.along(torch.ones(host.d_model), "resid_post.0")


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize("case", IDLE)
def test_a_part_that_marks_nothing_is_said(name: str, case: str) -> None:
    host = layout_host(name)
    where, words = IDLE[case]
    plan = [rm.steer(direction(host), 4.0, where=where)]
    with pytest.warns(UserWarning, match=words):
        rm.generate(host, [TEXT], plan, decode=DECODE, progress=False)
    with pytest.warns(UserWarning, match=words):
        rm.forward(host, [TEXT], plan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rm.forward(host, [TEXT], [plan[0].allow_no_change()])


@pytest.mark.parametrize("name", REAL_TEXT)
@pytest.mark.parametrize("case", BUSY)
def test_a_part_that_marks_something_is_not(name: str, case: str) -> None:
    host = layout_host(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rm.forward(host, [TEXT], [rm.steer(direction(host), 4.0, where=BUSY[case])])


@pytest.mark.parametrize("name", REAL_TEXT)
def test_a_closing_tag_that_the_vocabulary_writes_in_pieces_and_no_text_holds_is_said(name: str) -> None:
    host = layout_host(name)
    n_tokens = len(rm.hosts.token_forms(host.tokenizer, "</think>")[0])
    plan = [rm.steer(direction(host), 4.0, where=inside("<think>", "</think>"))]
    text = "<think>\nOkay, let me think."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rm.forward(host, [text], plan)
    stays_open = [str(one.message) for one in caught if "stays open" in str(one.message)]
    assert len(stays_open) == (n_tokens > 1) and all(f"takes {n_tokens} tokens" in one for one in stays_open)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rm.forward(host, [text, text + "</think>"], plan)
