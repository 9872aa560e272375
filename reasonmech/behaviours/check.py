"""check: a stated equation is evaluated again, beside the value that stands."""

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


def unverified(before: tuple[Sentence, ...]) -> bool:
    """A step was written and nothing has verified it yet."""
    last = stating(before)
    return last is not None and last.relation == "establishes"


class Check:
    """Opportunity: a step that nothing has verified. Verified when the re-evaluation is right."""

    functional = True

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(trace, lambda s: s.relation == "verifies")

    def lexical_spans(self, trace: Trace, onset_words: Mapping[str, str]) -> list[Span]:
        return spans_with_word(trace, onset_words.get("check"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(trace, unverified, lambda s: s.relation == "verifies")

    def verify(self, trace: Trace, span: Span) -> bool:
        return sentence_at(trace, span)[1].correct is True


behaviours.register("check")(Check())
