"""The Behaviour protocol, the open registry of behaviours, and helpers over sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from reasonmech.arguments import as_sequence, check_type
from reasonmech.errors import DataError, ReasonmechError
from reasonmech.hosts.spelling import continues, ends_before
from reasonmech.labels import Definition, Opportunity, Span
from reasonmech.registry import Registry
from reasonmech.rollout import Sentence, Trace

OnsetWords = Mapping[str, str | Sequence[str]]
"""Kind of sentence -> the word or phrase that usually begins it, or several; none for a kind left out."""

S = TypeVar("S", bound=Sentence)


@runtime_checkable
class Behaviour(Protocol):
    """A behaviour of a reasoning trace, defined by what it does and not by the words it uses.

    Attributes:
        name: what labels of it are called; the kind under which it is registered, if it is.
        functional: False for one recognised by its words alone ("lexical" in tables): descriptive only, never
            evidence of timing. True for one that somebody recognises by what a sentence does: a task's
            parser, a judge, a coder of sentences.
    """

    @property
    def name(self) -> str: ...
    @property
    def functional(self) -> bool: ...

    def spans(self, trace: Trace) -> list[Span]:
        """Where the behaviour happens, as offsets from the first generated token."""
        ...

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        """Where its words alone say that it happens: what a keyword labeller sees, for comparison only.

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


def find_behaviour(behaviour: str | Behaviour) -> Behaviour:
    """A registered behaviour by its name, or the behaviour itself.

    Raises:
        UnknownNameError: nothing of this name is registered. ArgumentError: neither a name nor a behaviour.
    """
    if isinstance(behaviour, str):
        return behaviours.get(behaviour)
    return check_type(
        behaviour,
        Behaviour,  # pyright: ignore[reportAbstractUsage]
        name="behaviour",
        allowed=f"one of {', '.join(behaviours)}, or an object with name, functional, spans, lexical_spans, "
        "opportunities and verify",
    )


def definition_of(behaviour: str | Behaviour) -> Definition:
    """How a behaviour is recognised, as tables say it. Raises as `find_behaviour` does."""
    return "functional" if find_behaviour(behaviour).functional else "lexical"


def defined(behaviour: object) -> str:
    """ "check (functional)", "words:venhoff/backtracking (lexical)", as reports and figures have it.

    Of one that is not known here its name alone: a run may come from a place where a plug-in is.
    """
    try:
        return f"{behaviour} ({definition_of(str(behaviour))})"
    except ReasonmechError:
        return str(behaviour)


def no_job(name: str) -> DataError:
    """What a behaviour without a verifier raises where it is asked whether it did its job."""
    return DataError(
        f"nothing says whether a sentence of {name!r} did its job",
        do="count its onsets, or write a behaviour with a verifier of its own (docs/tasks-and-behaviours.md)",
    )


def as_traces(traces: Trace | Sequence[Trace]) -> Sequence[Trace]:
    """Many traces; one trace is taken as one. Raises ArgumentError for anything else, such as rollouts."""
    return as_sequence(traces, Trace, name="traces", allowed="traces: rm.parse(rollouts)")


def spans_where(trace: Trace[S], accepts: Callable[[S], bool]) -> list[Span]:
    """Spans of the sentences that `accepts` says yes to."""
    return [Span(s.start, s.stop) for s in trace.sentences if accepts(s)]


def onset_phrases(words: str | Sequence[str] | None) -> tuple[str, ...]:
    """What a task states of one kind's words, as a tuple: one word is one, never its characters."""
    return (words,) if isinstance(words, str) else tuple(words or ())


def spans_with_word(trace: Trace, words: str | Sequence[str] | None) -> list[Span]:
    """Spans of the sentences in which a word or phrase stands anywhere, as keyword labellers count.

    It is looked for in the characters of a sentence, however tokens cut them. Case, the kind of blank and the
    form of an apostrophe are ignored; a phrase is only found between borders of words (in scripts that part
    words by blanks). No words, no span.
    """
    phrases = [r"\s+".join(map(re.escape, plain(phrase).split())) for phrase in onset_phrases(words)]
    if not any(phrases):
        return []
    # longer ones first: where one phrase begins another, both are tried
    pattern = re.compile("|".join(sorted(filter(None, phrases), key=len, reverse=True)), re.IGNORECASE)
    return spans_where(trace, lambda s: _says(plain(trace.text_of(s)), pattern))


def plain(text: str) -> str:
    """A text with "'" for every form of an apostrophe."""
    return text.replace("’", "'").replace("ʼ", "'")


def _says(text: str, pattern: re.Pattern[str]) -> bool:
    hits = pattern.finditer(text)
    return any(
        not continues(text[: hit.start()][-1:] or " ", hit[0][0])
        and ends_before(hit[0][-1], text[hit.end() :][:1] or " ")
        for hit in hits
    )


def sentence_at(trace: Trace[S], span: Span) -> tuple[int, S]:
    """Index and sentence of a span that `spans_where` made.

    Raises:
        DataError: no sentence of the trace begins there.
    """
    for i, sentence in enumerate(trace.sentences):
        if sentence.start == span.start:
            return i, sentence
    raise DataError(
        f"no sentence of {trace!r} begins at token {span.start}", do="take a span of this trace: spans(trace)"
    )


def boundaries_where(
    trace: Trace[S], could: Callable[[tuple[S, ...]], bool], begins: Callable[[S], bool]
) -> list[Opportunity]:
    """An opportunity before every sentence whose predecessors satisfy `could`; an onset where it `begins`.

    Only boundaries that the rollout went past count: of a cut-off text nobody knows what its last sentence
    became.
    """
    finished = trace.finished
    return [Opportunity(s.start, begins(s)) for i, s in enumerate(finished) if could(finished[:i])]
