"""ChainSentence: what a sentence of the chain world states, and what that does to the standing value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

from reasonmech.arguments import check_type, describe
from reasonmech.errors import DataError
from reasonmech.rollout import SLIP, STATED, Rollout, Sentence, Trace

Relation = Literal["establishes", "verifies", "revises", "concludes"]


@dataclass(frozen=True)
class ChainSentence(Sentence):
    """A sentence of a chain world.

    Attributes:
        item: which subgoal it works on (operation index), None where it names none.
        value: what it states about that item, None where nothing is stated.
        value_at: offset of the token that states it.
        correct: whether what it states is right for the equation as written (None: nothing to judge).
        relation: what it does to the item's standing value: "establishes" a first one, "verifies" it (a value
            stated beside it), "revises" it (abandoned for this one), "concludes" (the answer). A sentence
            that reads the standing value back verifies. One that does not revises where it begins as a step
            or a backtrack does, or where a contradiction has been found, and else verifies.
        standing: the item's standing value when the sentence began (None: none).
        equation: what the value was computed from, as written ("8 + 4"); None where nothing is computed.
        standing_equation: what the standing value was computed from, as written.
        adopts: the item whose standing value it abandons without a word, by going on from the other one that
            a check had found; None where it goes on from what stands. `adopted` is that other value.
    """

    item: int | None = None
    value: int | None = None
    value_at: int | None = None
    correct: bool | None = None
    relation: Relation | None = None
    standing: int | None = None
    equation: str | None = None
    standing_equation: str | None = None
    adopts: int | None = None
    adopted: int | None = None

    @property
    def evaluates_standing(self) -> bool:
        """Whether it evaluates the equation whose value stands: what a check or a backtrack is about."""
        return self.equation is not None and self.equation == self.standing_equation

    @property
    def contradicts(self) -> bool:
        """Whether it finds another value for what stands, and leaves it standing."""
        return self.relation == "verifies" and self.evaluates_standing and self.value != self.standing


def chain_trace(trace: Trace) -> Trace[ChainSentence]:
    """The trace itself, known to be one of a chain world.

    Raises:
        ArgumentError: no trace. DataError: its sentences state no values, as those of real text.
    """
    check_type(trace, Trace, name="trace", allowed="a trace: one of rm.parse(rollouts)")
    for sentence in trace.sentences:
        if not isinstance(sentence, ChainSentence):
            raise DataError(
                f"the trace of {trace.rollout.problem.id!r} has {describe(sentence)}, which states no value",
                allowed="traces of a chain world",
                do="label sentences of other texts by their kind: behaviours.SentencesOfKind(kind)",
            )
    return cast("Trace[ChainSentence]", trace)


def value_marks(rollout: Rollout, sentences: Iterable[ChainSentence]) -> dict[str, frozenset[int]]:
    """Offsets of tokens that state a value, and of those of them that the environment made wrong."""
    stated = {s.value_at: s for s in sentences if s.value_at is not None}
    slips = (at for at, s in stated.items() if rollout.by_environment[at] and s.correct is False)
    return {STATED: frozenset(stated), SLIP: frozenset(slips)}


def stating(sentences: tuple[ChainSentence, ...]) -> ChainSentence | None:
    """The last sentence that states a value of what is worked on.

    Hedges and plans between do not count, nor does a check of an equation other than the one that stands, or
    of another item.
    """
    for settled in reversed(sentences):
        if settled.relation is not None and settled.relation != "verifies":
            return checks_since(sentences).get(settled.item, settled)
    return None


def checks_since(sentences: tuple[ChainSentence, ...]) -> dict[int | None, ChainSentence]:
    """Item -> the last check of its standing equation, since a value was established or revised last."""
    checks: dict[int | None, ChainSentence] = {}
    for sentence in sentences:
        if sentence.relation == "verifies" and sentence.evaluates_standing:
            checks[sentence.item] = sentence
        elif sentence.relation is not None and sentence.relation != "verifies":
            checks = {}
    return checks


def standing_values(sentences: tuple[ChainSentence, ...]) -> dict[int, int]:
    """The last value of every operation after these sentences: {operation index: value}."""
    values: dict[int, int] = {}
    for sentence in sentences:
        if sentence.adopts is not None and sentence.adopted is not None:
            values[sentence.adopts] = sentence.adopted
        if (
            sentence.relation in ("establishes", "revises")
            and sentence.item is not None
            and sentence.value is not None
        ):
            values[sentence.item] = sentence.value
    return values
