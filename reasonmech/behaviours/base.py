"""The Behaviour protocol, the open registry of behaviours, and helpers over sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from reasonmech.labels import Opportunity, Span
from reasonmech.registry import Registry
from reasonmech.rollout import Sentence, Trace


class Behaviour(Protocol):
    """A behaviour of a reasoning trace, defined by what it does and not by the words it uses.

    Attributes:
        functional: False for a behaviour recognised by its words alone; descriptive only, never evidence of
            timing.
    """

    functional: bool

    def spans(self, trace: Trace) -> list[Span]:
        """Where the behaviour happens, as offsets from the first generated token."""
        ...

    def lexical_spans(self, trace: Trace, onset_words: Mapping[str, str]) -> list[Span]:
        """Where its trigger word alone says that it happens: what a keyword labeller sees, for comparison
        only.

        `onset_words` are those of the trace's task; no span where the task has no word for it.
        """
        ...

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        """The sentence boundaries at which it could have begun, and whether it did."""
        ...

    def verify(self, trace: Trace, span: Span) -> bool:
        """Whether the behaviour in `span` did its job."""
        ...


behaviours: Registry[Behaviour] = Registry("behaviour")


def spans_where(trace: Trace, wanted: Callable[[Sentence], bool]) -> list[Span]:
    """Spans of the sentences that `wanted` accepts."""
    return [Span(s.start, s.stop) for s in trace.sentences if wanted(s)]


def spans_with_word(trace: Trace, word: str | None) -> list[Span]:
    """Spans of the sentences in which `word` stands anywhere, as keyword labellers count; none where it is
    None."""
    return spans_where(trace, lambda s: word is not None and word in trace.words[s.start : s.stop])


def sentence_at(trace: Trace, span: Span) -> tuple[int, Sentence]:
    """Index and sentence of a span that `spans_where` made."""
    return next((i, s) for i, s in enumerate(trace.sentences) if s.start == span.start)


def boundaries_where(
    trace: Trace, could: Callable[[tuple[Sentence, ...]], bool], begins: Callable[[Sentence], bool]
) -> list[Opportunity]:
    """An opportunity before every sentence whose predecessors satisfy `could`; an onset where it `begins`.

    Only boundaries that the rollout went past count: of a cut-off text nobody knows what its last sentence
    became.
    """
    whole = trace.sentences
    if trace.rollout.stop != "eos" and whole and trace.words[whole[-1].stop - 1] != ".":
        whole = whole[:-1]
    return [Opportunity(s.start, begins(s)) for i, s in enumerate(whole) if could(whole[:i])]


def stating(sentences: tuple[Sentence, ...]) -> Sentence | None:
    """The last sentence that states a value (hedges and plans between do not count)."""
    return next((s for s in reversed(sentences) if s.relation is not None), None)
