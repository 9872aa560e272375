"""check: a stated equation is evaluated again, beside the value that stands."""

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
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace, stating


def unverified(previous: tuple[ChainSentence, ...]) -> bool:
    """A step was written and nothing has verified it yet."""
    last = stating(previous)
    return last is not None and last.relation == "establishes"


@final
class CheckBehaviour:
    """Opportunity: a step that nothing has verified. Verified when the re-evaluation is right."""

    name = "check"
    functional = True

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(chain_trace(trace), lambda s: s.relation == "verifies")

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        return spans_with_word(trace, onset_words.get("check"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(chain_trace(trace), unverified, lambda s: s.relation == "verifies")

    def verify(self, trace: Trace, span: Span) -> bool:
        return sentence_at(chain_trace(trace), span)[1].correct is True


behaviours.register("check")(CheckBehaviour())
