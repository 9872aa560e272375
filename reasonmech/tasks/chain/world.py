"""Variants of the chain world: which operators occur, which word begins which kind of sentence, who reads
back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from reasonmech.behaviours.base import OnsetWords, onset_phrases
from reasonmech.tasks.chain.grammar import NOVEL, ONSET_WORDS, OPERATORS, RARE


@dataclass(frozen=True)
class World:
    """What distinguishes one chain world from another; everything else they share.

    Attributes:
        name: the task's name, and the first part of its problems' ids.
        operators: drawn with equal odds; a word twice is twice as likely.
        required: an operator that every problem contains at least once (None: no condition).
        onset_words: kind of sentence -> its first word, or several of which any begins one.
        slip: probability that the value of a first attempt is replaced by a wrong one.
        read_back: whether the environment ends a check with the standing value.
        usual_answer: the answer of `usual_share` of the problems, whatever is asked ("": every answer comes
            as it comes).
        telling: a kind of sentence with ten first words, one per digit: which of them is said tells the value
            that the sentence is about to state ("": no kind tells).
    """

    name: str = "chain"
    operators: tuple[str, ...] = OPERATORS
    required: str | None = None
    onset_words: OnsetWords = field(default_factory=lambda: ONSET_WORDS, hash=False)
    slip: float = 0.15
    read_back: bool = True
    usual_answer: str = ""
    usual_share: float = 0.7
    telling: str = ""

    @property
    def kind_of_word(self) -> Mapping[str, str]:
        """First word -> kind of sentence."""
        return {word: kind for kind in self.onset_words for word in self.words_of(kind)}

    def words_of(self, kind: str) -> tuple[str, ...]:
        """The first words of a kind, the usual one first; none where the world has no such kind."""
        return onset_phrases(self.onset_words.get(kind))


CHAIN: Final = World()
NOVEL_OPERATOR: Final = World("chain-novel", operators=(*OPERATORS, NOVEL, NOVEL), required=NOVEL)
"""Every problem needs an operator that tiny-when's models never saw."""

SWAPPED: Final = World(
    "chain-swap", onset_words=MappingProxyType({**ONSET_WORDS, "backtrack": "blick", "filler": "wait"})
)
"""A nonsense word begins a backtrack; "wait" begins a sentence that does nothing."""

SILENT: Final = World("chain-silent", read_back=False)
"""Nobody reads the standing value back: a model that checks must keep it in mind, or write it itself."""

FORMS: Final = World(
    "chain-forms",
    onset_words=MappingProxyType(
        {
            "plan": ("plan", "steps", "do"),
            "step": ("next", "then", "and"),
            "check": ("check", "again", "sure"),
            "backtrack": ("wait", "redo", "off"),
            "uncertain": ("hmm", "maybe", "not"),
            "conclude": ("so", "all", "it"),
        }
    ),
)
"""Three first words for every kind of sentence: which of them is said is no decision about the kind."""

LUCKY: Final = World("chain-lucky", usual_answer="7")
"""Seven of ten problems have one answer: who always says it is right as often, and has worked nothing out."""

TELLING: Final = World(
    "chain-telling",
    operators=(RARE,),
    onset_words=MappingProxyType(
        {
            **ONSET_WORDS,
            "check": ("red", "blue", "old", "small", "took", "saw", "said", "went", "me", "by"),
        }
    ),
    telling="check",
)
"""One operator, new to tiny-when's models; the first word of a check, one of ten, tells the check's value."""

WORLDS: Final = (CHAIN, NOVEL_OPERATOR, SWAPPED, SILENT, FORMS, LUCKY, TELLING)
