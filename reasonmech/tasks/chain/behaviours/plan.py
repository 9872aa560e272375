"""plan: a count of subgoals is announced at the start, and later met."""

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
class PlanBehaviour:
    """Opportunity: the start. Verified when exactly as many subgoals follow as were announced."""

    name = "plan"
    functional = True

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(chain_trace(trace), lambda s: s.kind == "plan")

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        return spans_with_word(trace, onset_words.get("plan"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(chain_trace(trace), lambda previous: not previous, lambda s: s.kind == "plan")

    def verify(self, trace: Trace, span: Span) -> bool:
        chain = chain_trace(trace)
        i, _ = sentence_at(chain, span)
        announced = [int(word) for word in trace.words[span.start : span.stop] if word.isdecimal()]
        return announced == [sum(s.relation == "establishes" for s in chain.sentences[i + 1 :])]


behaviours.register("plan")(PlanBehaviour())
