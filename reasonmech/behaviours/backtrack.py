"""backtrack: a standing value is abandoned, recomputed or passed over for what a check found, whatever words
say so."""

from __future__ import annotations

from collections.abc import Mapping

from reasonmech.behaviours.base import (
    behaviours,
    boundaries_where,
    sentence_at,
    spans_where,
    spans_with_word,
    stating,
)
from reasonmech.labels import Opportunity, Span
from reasonmech.rollout import Sentence, Trace


def contradicted(before: tuple[Sentence, ...]) -> bool:
    """The last value stated contradicts the one that stands."""
    last = stating(before)
    return last is not None and last.relation == "verifies" and last.value != last.standing


def abandons(sentence: Sentence) -> bool:
    """The standing value is given up: recomputed, or passed over for what a check had found."""
    return sentence.relation == "revises" or sentence.adopts is not None


class Backtrack:
    """Opportunity: a contradiction not yet resolved. Verified when the new value is right."""

    functional = True

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(trace, abandons)

    def lexical_spans(self, trace: Trace, onset_words: Mapping[str, str]) -> list[Span]:
        return spans_with_word(trace, onset_words.get("backtrack"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(trace, contradicted, abandons)

    def verify(self, trace: Trace, span: Span) -> bool:
        i, sentence = sentence_at(trace, span)
        if sentence.adopts is None:
            return sentence.correct is True
        return any(
            s.value == sentence.adopted and s.correct for s in trace.sentences[:i] if s.relation == "verifies"
        )


behaviours.register("backtrack")(Backtrack())
