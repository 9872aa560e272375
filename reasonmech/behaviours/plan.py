"""plan: a count of subgoals is announced at the start, and later met."""

from __future__ import annotations

from collections.abc import Mapping

from reasonmech.behaviours.base import behaviours, boundaries_where, sentence_at, spans_where, spans_with_word
from reasonmech.labels import Opportunity, Span
from reasonmech.rollout import Trace


class Plan:
    """Opportunity: the start. Verified when exactly as many subgoals follow as were announced."""

    functional = True

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(trace, lambda s: s.kind == "plan")

    def lexical_spans(self, trace: Trace, onset_words: Mapping[str, str]) -> list[Span]:
        return spans_with_word(trace, onset_words.get("plan"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(trace, lambda before: not before, lambda s: s.kind == "plan")

    def verify(self, trace: Trace, span: Span) -> bool:
        i, _ = sentence_at(trace, span)
        announced = [int(word) for word in trace.words[span.start : span.stop] if word.isdecimal()]
        return announced == [sum(s.relation == "establishes" for s in trace.sentences[i + 1 :])]


behaviours.register("plan")(Plan())
