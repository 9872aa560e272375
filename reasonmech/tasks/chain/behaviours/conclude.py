"""conclude: the answer is stated."""

from __future__ import annotations

from typing import final

from reasonmech.behaviours.base import (
    OnsetWords,
    behaviours,
    boundaries_where,
    sentence_at,
    spans_where,
    spans_with_word,
)
from reasonmech.labels import Opportunity, Span
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.sentence import chain_trace


@final
class ConcludeBehaviour:
    """Opportunity: every boundary before the answer. Verified when the answer is right."""

    name = "conclude"
    functional = True

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(chain_trace(trace), lambda s: s.relation == "concludes")

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        return spans_with_word(trace, onset_words.get("conclude"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(
            chain_trace(trace),
            lambda previous: all(s.relation != "concludes" for s in previous),
            lambda s: s.relation == "concludes",
        )

    def verify(self, trace: Trace, span: Span) -> bool:
        return str(sentence_at(chain_trace(trace), span)[1].value) == trace.rollout.problem.answer


behaviours.register("conclude")(ConcludeBehaviour())
