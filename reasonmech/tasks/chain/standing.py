"""Standing: what stands at a place of a text that is being read, and what a sentence does to it."""

from __future__ import annotations

from dataclasses import replace
from typing import final

from reasonmech.tasks.chain.sentence import ChainSentence, Relation


@final
class Standing:
    """What stands at a place of a text that is being read.

    Attributes:
        item: the operation that is worked on.
        values, equations: of every operation, as they stand; equations as written.
        contradiction: an operation, and the other value that an evaluation of its standing equation gave.
    """

    def __init__(self) -> None:
        self.item: int | None = None
        self.values: dict[int, int] = {}
        self.equations: dict[int, str] = {}
        self.contradiction: tuple[int, int] | None = None

    def relation(self, item: int | None, kind: str, *, reads_back: bool) -> Relation | None:
        """What a sentence with an equation does to the value of an operation; see `ChainSentence`."""
        if item is None:
            return None
        if item not in self.values:
            return "establishes"
        if reads_back:
            return "verifies"
        pending = self.contradiction is not None and self.contradiction[0] == item
        return "revises" if pending or kind in ("step", "backtrack") else "verifies"

    def after(self, sentence: ChainSentence) -> ChainSentence:
        """Take in a sentence that was read; it comes back with what it adopts."""
        if (
            self.contradiction is not None
            and _goes_on_from(sentence, self.contradiction[0]) == self.contradiction[1]
        ):
            sentence = replace(sentence, adopts=self.contradiction[0], adopted=self.contradiction[1])
            self.values[self.contradiction[0]] = self.contradiction[1]
        item, value = sentence.item, sentence.value
        if sentence.relation == "concludes":
            self.contradiction = None
        if sentence.relation == "verifies" and sentence.evaluates_standing:
            assert item is not None and value is not None
            if sentence.contradicts:
                self.contradiction = (item, value)
            elif self.contradiction is not None and self.contradiction[0] == item:
                self.contradiction = None
        if sentence.relation in ("establishes", "revises"):
            assert item is not None and value is not None and sentence.equation is not None
            self.item, self.values[item], self.equations[item] = item, value, sentence.equation
            self.contradiction = None
        return sentence


def _goes_on_from(sentence: ChainSentence, item: int) -> int | None:
    """The value of an operation that the next one, or the answer, is built on; None for other sentences."""
    if sentence.relation == "concludes":
        return sentence.value
    if sentence.relation != "establishes" or sentence.item == item or sentence.equation is None:
        return None
    return int(sentence.equation.split()[0])
