"""Forced onsets in texts whose words carry their own blanks."""

from __future__ import annotations

import pytest

from reasonmech.errors import ArgumentError
from reasonmech.organisms.ground_truth.forced import can_force, forced_prompts, forced_rates
from reasonmech.tasks import tasks
from reasonmech.tasks.letters import Letters
from tests.layouts import layout, layout_host
from tests.unit.tasks.letters_text import CAREFUL, PROBLEM, written

TRACE = Letters().parse(written(CAREFUL, layout("gemma")))


def test_texts_are_cut_at_opportunities_and_go_on_with_the_word() -> None:
    checks = forced_prompts([TRACE], "check", n=10, task="letters")
    first = PROBLEM.prompt + " Now b is 4 + 3 = 2. Check"
    second = PROBLEM.prompt + CAREFUL[: CAREFUL.index(": 7 - 2")]
    assert {p.prompt: p.answer for p in checks} == {first: "4 + 3 = 7", second: "7 - 2 = 5"}
    (back,) = forced_prompts([TRACE], "backtrack", n=10, task="letters")
    assert back.prompt.endswith(", I had 2. Wait") and back.answer == "4 + 3 = 7"
    steps = forced_prompts([TRACE], "step", n=10, task="letters")
    assert sorted(p.answer for p in steps) == ["4 + 3 = 7", "7 - 2 = 5"]
    assert all(p.prompt.endswith(" Now") for p in steps)


def test_what_a_model_writes_after_the_word_is_held_to_the_equation() -> None:
    world = Letters()
    assert world.first_equation(": 4 + 3 = 7, I had 2. Wait, b is 4 + 3 = 8.") == "4 + 3 = 7"
    assert world.first_equation(", b is 4 + 3 =") is None
    prompts = forced_prompts([TRACE], "check", n=10, task="letters")
    rates = forced_rates(layout_host("gemma"), prompts, task="letters")
    assert {name: rate.n for name, rate in rates.items()} == {"hand": 2}


def test_onsets_are_forced_where_a_value_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        """A task without values."""

    assert can_force("letters") and can_force("chain")
    monkeypatch.setitem(tasks._entries, "plain-words", Plain())
    assert not can_force("plain-words")
    with pytest.raises(ArgumentError, match="letters world"):
        forced_prompts([TRACE], "check", n=1, task="plain-words")
