"""backtrack: a standing value is abandoned, whatever words say so."""

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


def contradicted(previous: tuple[ChainSentence, ...]) -> bool:
    """The last value stated contradicts the one that stands."""
    last = stating(previous)
    return last is not None and last.relation == "verifies" and last.value != last.standing


def abandons(sentence: ChainSentence) -> bool:
    """The standing value is given up: recomputed, or passed over for what a check had found."""
    return sentence.relation == "revises" or sentence.adopts is not None


@final
class BacktrackBehaviour:
    """Opportunity: a contradiction not yet resolved. Verified when the new value is right."""

    name = "backtrack"
    functional = True

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(chain_trace(trace), abandons)

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        return spans_with_word(trace, onset_words.get("backtrack"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(chain_trace(trace), contradicted, abandons)

    def verify(self, trace: Trace, span: Span) -> bool:
        chain = chain_trace(trace)
        i, sentence = sentence_at(chain, span)
        if sentence.adopts is None:
            return sentence.correct is True
        return any(
            s.value == sentence.adopted and s.correct for s in chain.sentences[:i] if s.relation == "verifies"
        )


behaviours.register("backtrack")(BacktrackBehaviour())
