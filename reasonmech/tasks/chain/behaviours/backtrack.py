"""backtrack: a standing value is abandoned, whatever words say so."""

from __future__ import annotations

from typing import final

from reasonmech.behaviours.base import behaviours, sentence_at
from reasonmech.labels import Span
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.behaviours.base import ChainBehaviour
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace, checks_since


def contradicted(previous: tuple[ChainSentence, ...]) -> bool:
    """The last value stated of an item contradicts the one that stands, whatever word it was stated with."""
    return any(check.contradicts for check in checks_since(previous).values())


@final
class BacktrackBehaviour(ChainBehaviour):
    """Opportunity: a contradiction not yet resolved. Verified when it evaluates what stood, and rightly."""

    name = "backtrack"

    def is_one(self, sentence: ChainSentence) -> bool:
        """The standing value is given up: recomputed, or passed over for what a check had found."""
        return sentence.relation == "revises" or sentence.adopts is not None

    def could_begin(self, previous: tuple[ChainSentence, ...], trace: Trace) -> bool:
        return contradicted(previous)

    def verify(self, trace: Trace, span: Span) -> bool:
        chain = chain_trace(trace)
        i, sentence = sentence_at(chain, span)
        if sentence.adopts is None:
            return self.is_one(sentence) and sentence.evaluates_standing and sentence.correct is True
        checks = [s for s in chain.sentences[:i] if s.contradicts and s.item == sentence.adopts]
        return checks[-1].correct is True


behaviours.register("backtrack")(BacktrackBehaviour())
