"""Whoever carries out stages gets them in an order in which each finds what it needs."""

from __future__ import annotations

from threading import Thread
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reasonmech.experiments.agenda import Agenda


class Fake:
    def __init__(self, kind: str, *needs: str) -> None:
        self.kind, self.reads = kind, needs


def agenda_of(*stages: Fake) -> Any:
    return Agenda(stages)  # type: ignore[arg-type]


@st.composite
def plans(draw: st.DrawFn) -> list[Fake]:
    n = draw(st.integers(1, 7))
    earlier = [draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set() for i in range(n)]
    return [Fake(str(i), *(str(j) for j in needs)) for i, needs in enumerate(earlier)]


@settings(max_examples=100, deadline=None)
@given(plan=plans(), workers=st.integers(1, 4), failing=st.sets(st.integers(0, 6), max_size=3))
def test_every_stage_is_finished_once_and_after_what_it_needs(
    plan: list[Fake], workers: int, failing: set[int]
) -> None:
    agenda, finished, failed = agenda_of(*plan), [], {str(i) for i in failing}
    needs = {stage.kind: stage.reads for stage in plan}

    def work(gives_back: bool) -> None:
        while (kind := agenda.take()) is not None:
            assert set(needs[kind]) <= set(finished)
            if gives_back and kind in failed:
                agenda.give_back(kind)
                return
            finished.append(kind)
            agenda.finish(kind)

    threads = [Thread(target=work, args=(True,)) for _ in range(workers - 1)]
    for thread in threads:
        thread.start()
    work(False)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(finished) == sorted(needs)


def test_what_most_others_wait_for_comes_first() -> None:
    agenda = agenda_of(Fake("a"), Fake("b"), Fake("c", "b"), Fake("d", "c"), Fake("e"))
    assert [agenda.take(), agenda.take(), agenda.take()] == ["b", "a", "e"]


def test_nothing_is_taken_of_a_closed_one() -> None:
    agenda = agenda_of(Fake("a"), Fake("b", "a"))
    assert agenda.take() == "a"
    waiting = Thread(target=agenda.take)
    waiting.start()
    agenda.close()
    waiting.join(10)
    assert not waiting.is_alive() and agenda.take() is None
