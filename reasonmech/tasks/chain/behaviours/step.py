"""step: a first value is established for the next subgoal."""

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
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace


@final
class StepBehaviour:
    """Opportunity: a boundary before the answer with a subgoal still open. Verified by its value."""

    name = "step"
    functional = True

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(chain_trace(trace), lambda s: s.relation == "establishes")

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        return spans_with_word(trace, onset_words.get("step"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        def open_subgoal(previous: tuple[ChainSentence, ...]) -> bool:
            established = sum(s.relation == "establishes" for s in previous)
            concluded = any(s.relation == "concludes" for s in previous)
            return established < len(trace.rollout.problem.data["operations"]) and not concluded

        return boundaries_where(chain_trace(trace), open_subgoal, lambda s: s.relation == "establishes")

    def verify(self, trace: Trace, span: Span) -> bool:
        return sentence_at(chain_trace(trace), span)[1].correct is True


behaviours.register("step")(StepBehaviour())
