"""SentencesOfKind: sentences of a kind as a behaviour, whoever says of which kind they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from reasonmech.behaviours.base import OnsetWords, boundaries_where, no_job, spans_where, spans_with_word
from reasonmech.door import checked
from reasonmech.labels import Opportunity, Span
from reasonmech.rollout import Trace


@checked
@final
@dataclass(frozen=True)
class SentencesOfKind:
    """Sentences of one kind, in any trace: of a task's grammar, or of a taxonomy of real text.

    Opportunity: every sentence boundary that the text went past; an onset where the next sentence is of the
    kind. Nothing says whether it did its job.

        rm.label(annotation.with_kinds(), SentencesOfKind("backtracking"))

    Attributes:
        functional: whether whoever gave the kinds looked at what a sentence does (a judge, a coder) and not
            at its words alone.
    """

    kind: str
    functional: bool = False

    @property
    def name(self) -> str:
        return self.kind

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(trace, lambda s: s.is_a(self.kind))

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        return spans_with_word(trace, onset_words.get(self.kind))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(trace, lambda previous: True, lambda s: s.is_a(self.kind))

    def verify(self, trace: Trace, span: Span) -> bool:
        """Raises DataError: a kind is a name, and a name has no job."""
        raise no_job(self.kind)
