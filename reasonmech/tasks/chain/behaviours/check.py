"""check: a stated equation is evaluated again, beside the value that stands."""

from __future__ import annotations

from typing import final

from reasonmech.behaviours.base import behaviours, sentence_at
from reasonmech.labels import Span
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.behaviours.base import ChainBehaviour
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace, stating


def unverified(previous: tuple[ChainSentence, ...]) -> bool:
    """A step was written and nothing has evaluated its equation again yet."""
    last = stating(previous)
    return last is not None and last.relation == "establishes"


@final
class CheckBehaviour(ChainBehaviour):
    """Opportunity: a step that nothing has verified. Verified when it evaluates what stands, and rightly."""

    name = "check"

    def is_one(self, sentence: ChainSentence) -> bool:
        return sentence.relation == "verifies"

    def could_begin(self, previous: tuple[ChainSentence, ...], trace: Trace) -> bool:
        return unverified(previous)

    def verify(self, trace: Trace, span: Span) -> bool:
        sentence = sentence_at(chain_trace(trace), span)[1]
        return self.is_one(sentence) and sentence.evaluates_standing and sentence.correct is True


behaviours.register("check")(CheckBehaviour())
