"""backtrack: a standing value is abandoned and recomputed, whatever words say so."""

from __future__ import annotations

from collections.abc import Mapping

from reasonmech.behaviours.base import behaviours, boundaries_where, sentence_at, spans_where, spans_with_word, stating
from reasonmech.labels import Opportunity, Span
from reasonmech.rollout import Sentence, Trace


def contradicted(before: tuple[Sentence, ...]) -> bool:
    """The last value stated contradicts the one that stands."""
    last = stating(before)
    return last is not None and last.relation == "verifies" and last.value != last.standing


class Backtrack:
    """Opportunity: a contradiction not yet resolved. Verified when the new value is right."""

    functional = True

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(trace, lambda s: s.relation == "revises")

    def lexical_spans(self, trace: Trace, onset_words: Mapping[str, str]) -> list[Span]:
        return spans_with_word(trace, onset_words.get("backtrack"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(trace, contradicted, lambda s: s.relation == "revises")

    def verify(self, trace: Trace, span: Span) -> bool:
        return sentence_at(trace, span)[1].correct is True


behaviours.register("backtrack")(Backtrack())
