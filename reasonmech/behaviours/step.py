"""step: a first value is established for the next subgoal."""

from __future__ import annotations

from collections.abc import Mapping

from reasonmech.behaviours.base import behaviours, boundaries_where, sentence_at, spans_where, spans_with_word
from reasonmech.labels import Opportunity, Span
from reasonmech.rollout import Trace


class Step:
    """Opportunity: a boundary before the answer with a subgoal still open. Verified when its value is
    right."""

    functional = True

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(trace, lambda s: s.relation == "establishes")

    def lexical_spans(self, trace: Trace, onset_words: Mapping[str, str]) -> list[Span]:
        return spans_with_word(trace, onset_words.get("step"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        total = len(trace.rollout.problem.data["operations"])
        return boundaries_where(
            trace,
            lambda before: (
                sum(s.relation == "establishes" for s in before) < total
                and all(s.relation != "concludes" for s in before)
            ),
            lambda s: s.relation == "establishes",
        )

    def verify(self, trace: Trace, span: Span) -> bool:
        return sentence_at(trace, span)[1].correct is True


behaviours.register("step")(Step())
