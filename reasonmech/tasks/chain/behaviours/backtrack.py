"""backtrack: a standing value is abandoned, whatever words say so."""

from __future__ import annotations

from typing import final

from reasonmech.behaviours.base import behaviours, sentence_at
from reasonmech.labels import Span
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.behaviours.base import ChainBehaviour
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace, stating


def contradicted(previous: tuple[ChainSentence, ...]) -> bool:
    """The last value stated contradicts the one that stands."""
    last = stating(previous)
    return last is not None and last.relation == "verifies" and last.value != last.standing


@final
class BacktrackBehaviour(ChainBehaviour):
    """Opportunity: a contradiction not yet resolved. Verified when the new value is right."""

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
            return sentence.correct is True
        return any(
            s.value == sentence.adopted and s.correct for s in chain.sentences[:i] if s.relation == "verifies"
        )


behaviours.register("backtrack")(BacktrackBehaviour())
