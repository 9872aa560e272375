"""uncertain: a hedge ("hmm , not sure ."). Lexical: it is recognised by its words and proves nothing."""

from __future__ import annotations

from collections.abc import Mapping

from reasonmech.behaviours.base import behaviours, boundaries_where, spans_where, spans_with_word, stating
from reasonmech.labels import Opportunity, Span
from reasonmech.rollout import Trace


class Uncertain:
    """Opportunity: any boundary after a value was stated. Never part of a claim about timing."""

    functional = False

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(trace, lambda s: s.kind == "uncertain")

    def lexical_spans(self, trace: Trace, onset_words: Mapping[str, str]) -> list[Span]:
        return spans_with_word(trace, onset_words.get("uncertain"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(
            trace, lambda before: stating(before) is not None, lambda s: s.kind == "uncertain"
        )

    def verify(self, trace: Trace, span: Span) -> bool:
        """A hedge has no job that could be verified; its presence is all there is."""
        return span in self.spans(trace)


behaviours.register("uncertain")(Uncertain())
