"""SentencesOfKind: sentences of a kind as a behaviour, whoever says of which kind they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from reasonmech.behaviours.base import OnsetWords, boundaries_where, spans_where, spans_with_word
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.labels import Opportunity, Span
from reasonmech.rollout import Trace


@checked
@final
@dataclass(frozen=True)
class SentencesOfKind:
    """Sentences of one kind, in any trace: of a task's grammar, or of a taxonomy of real text.

    Opportunity: every sentence boundary that the text went past; an onset where the next sentence is of the
    kind. Descriptive: what a labeller calls a sentence is no evidence of what it does, and nothing says
    whether it did its job.

        rm.label(annotation.with_kinds(), SentencesOfKind("backtracking"))
    """

    kind: str

    @property
    def name(self) -> str:
        return self.kind

    @property
    def functional(self) -> bool:
        return False

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(trace, lambda s: s.is_a(self.kind))

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        return spans_with_word(trace, onset_words.get(self.kind))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(trace, lambda previous: True, lambda s: s.is_a(self.kind))

    def verify(self, trace: Trace, span: Span) -> bool:
        """Raises DataError: a kind is a name, and a name has no job."""
        raise DataError(
            f"nothing says whether a sentence of kind {self.kind!r} did its job",
            do="write a behaviour with a verifier of its own (docs/tasks-and-behaviours.md)",
        )
