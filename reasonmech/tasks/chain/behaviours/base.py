"""ChainBehaviour: what behaviours of the chain world share, told apart by two questions about sentences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from reasonmech.behaviours.base import (
    OnsetWords,
    boundaries_where,
    sentence_at,
    spans_where,
    spans_with_word,
)
from reasonmech.labels import Opportunity, Span
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace


class ChainBehaviour(ABC):
    """A behaviour known by what one sentence does, and that not every sentence can be followed by.

    Every method raises DataError on a trace whose sentences are not those of the chain world.

    Attributes:
        name: its kind in the registry, and the key of its word among a task's onset words.
        functional: False for one that is recognised by its words alone.
    """

    name: ClassVar[str]
    functional = True

    @abstractmethod
    def is_one(self, sentence: ChainSentence) -> bool:
        """Whether a sentence does it."""

    @abstractmethod
    def could_begin(self, previous: tuple[ChainSentence, ...], trace: Trace) -> bool:
        """Whether the next sentence could do it, after all those before."""

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(chain_trace(trace), self.is_one)

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        return spans_with_word(trace, onset_words.get(self.name))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        def could(previous: tuple[ChainSentence, ...]) -> bool:
            return self.could_begin(previous, trace)

        return boundaries_where(chain_trace(trace), could, self.is_one)

    def verify(self, trace: Trace, span: Span) -> bool:
        """Whether what it states is right for the equation as written."""
        return sentence_at(chain_trace(trace), span)[1].correct is True
