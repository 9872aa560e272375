"""ChainSentence: what a sentence of the chain world states, and what that does to the standing value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from reasonmech.arguments import check_type, describe
from reasonmech.errors import DataError
from reasonmech.rollout import Sentence, Trace

Relation = Literal["establishes", "verifies", "revises", "concludes"]


@dataclass(frozen=True)
class ChainSentence(Sentence):
    """A sentence of a chain world.

    Attributes:
        item: which subgoal it works on (operation index), None where it names none.
        value: what it states about that item, None where nothing is stated.
        value_at: offset of the token that states it.
        correct: whether what it states is right for the equation as written (None: nothing to judge).
        relation: what it does to the item's standing value, whatever words it uses: "establishes" a first
            one, "verifies" it (stated again beside it), "revises" it (abandoned for this one), "concludes"
            (the answer).
        standing: the item's standing value when the sentence began (None: none).
        equation: what the value was computed from, as written ("8 + 4"); None where nothing is computed.
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
    adopts: int | None = None
    adopted: int | None = None


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


def stating(sentences: tuple[ChainSentence, ...]) -> ChainSentence | None:
    """The last sentence that states a value (hedges and plans between do not count)."""
    return next((s for s in reversed(sentences) if s.relation is not None), None)
