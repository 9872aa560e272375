"""uncertain: a hedge ("hmm , not sure ."). Lexical: it is recognised by its words and proves nothing."""

from __future__ import annotations

from typing import final

from reasonmech.behaviours.base import OnsetWords, behaviours, boundaries_where, spans_where, spans_with_word
from reasonmech.labels import Opportunity, Span
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace, stating


@final
class UncertainBehaviour:
    """Opportunity: any boundary after a value was stated. Never part of a claim about timing."""

    name = "uncertain"
    functional = False

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(chain_trace(trace), lambda s: s.kind == "uncertain")

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        return spans_with_word(trace, onset_words.get("uncertain"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        def stated(previous: tuple[ChainSentence, ...]) -> bool:
            return stating(previous) is not None

        return boundaries_where(chain_trace(trace), stated, lambda s: s.kind == "uncertain")

    def verify(self, trace: Trace, span: Span) -> bool:
        """A hedge has no job that could be verified; its presence is all there is."""
        return span in self.spans(trace)


behaviours.register("uncertain")(UncertainBehaviour())
