"""Annotations: which categories each sentence of a rollout belongs to, by words or by a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import pandas as pd

from reasonmech.behaviours import SentencesOfKind
from reasonmech.behaviours.base import as_traces
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.labels import Span
from reasonmech.ranges import Positive, Seed
from reasonmech.rollout import Rollout, Trace
from reasonmech.stats import DRAWS
from reasonmech.stats.kappa import Agreement, cohen_kappa
from reasonmech.taxonomies.text.by_name import WORDS
from reasonmech.taxonomies.text.cut import TextSentence, text_trace
from reasonmech.taxonomies.text.taxonomy import Taxonomy, find_taxonomy

Marks = tuple[frozenset[str], ...]  # per sentence, its categories


@checked
@dataclass(frozen=True)
class Annotation:
    """Categories of the sentences of rollouts.

    Attributes:
        by: "words", or the judge's name.
        traces: of the rollouts, cut by `cut`.
        marks: per rollout, the categories of each of its sentences; None where the annotator gave no valid
            answer.
        missing: rollout index -> why there is none.
    """

    taxonomy: Taxonomy
    by: str
    traces: tuple[Trace[TextSentence], ...]
    marks: tuple[Marks | None, ...]
    missing: Mapping[int, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Annotation({len(self.traces)} rollouts, taxonomy {self.taxonomy.name!r}, by {self.by!r})"

    @property
    def rollouts(self) -> list[Rollout]:
        return [trace.rollout for trace in self.traces]

    def answered(self) -> Annotation:
        """The same without the rollouts that are missing: what labels can be made of."""
        rows = [i for i, marks in enumerate(self.marks) if marks is not None]
        return Annotation(
            self.taxonomy, self.by, tuple(self.traces[i] for i in rows), tuple(self.marks[i] for i in rows)
        )

    def with_kinds(self) -> list[Trace[TextSentence]]:
        """The traces, with categories on every sentence: what `rm.label` takes with `behaviour(category)`.

        A sentence's `kind` is the first of its categories, in the taxonomy's order; it is a sentence of each
        of them (`is_a`).

        Raises:
            DataError: rollouts are missing; their sentences would count as of no kind.
        """
        return [
            replace(trace, sentences=tuple(map(self._with_kind, trace.sentences, marks)))
            for trace, marks in self._complete()
        ]

    @checked
    def behaviour(self, category: str) -> SentencesOfKind:
        """The sentences of a category as a behaviour: lexical by words, functional by a judge.

        Raises:
            UnknownNameError: no such category.
        """
        return SentencesOfKind(self.taxonomy.check(category), functional=self.by != WORDS)

    @checked
    def spans(self, category: str) -> list[list[Span]]:
        """Per rollout, token spans of the sentences of a category: what `rm.Labels.from_spans` takes.

        Raises:
            UnknownNameError: no such category.
            DataError: rollouts are missing; their tokens would count as negative.
        """
        self.taxonomy.check(category)
        return [
            [s.tokens for s, names in zip(trace.sentences, marks, strict=True) if category in names]
            for trace, marks in self._complete()
        ]

    def _complete(self) -> list[tuple[Trace[TextSentence], Marks]]:
        if self.missing:
            raise DataError(
                f"{len(self.missing)} of {len(self.traces)} rollouts have no annotation by {self.by!r}",
                do="take `.answered()`, and its rollouts, or ask the judge again",
            )
        pairs = zip(self.traces, self.marks, strict=True)
        return [(trace, marks) for trace, marks in pairs if marks is not None]

    def _with_kind(self, sentence: TextSentence, categories: frozenset[str]) -> TextSentence:
        kind = next((name for name in self.taxonomy.names if name in categories), sentence.kind)
        return replace(sentence, kind=kind, categories=categories)

    def table(self) -> pd.DataFrame:
        """One row per category: sentences that have it, their share, rollouts with any, rollouts missing."""
        answers = [marks for marks in self.marks if marks is not None]
        total = sum(len(marks) for marks in answers)
        rows = []
        for name in self.taxonomy.names:
            hits = [sum(name in names for names in marks) for marks in answers]
            share = sum(hits) / total if total else float("nan")
            rows.append({"taxonomy": self.taxonomy.name, "by": self.by, "category": name,
                         "sentences": sum(hits),
                         "share": share, "rollouts": sum(h > 0 for h in hits), "n_rollouts": len(answers),
                         "missing": len(self.missing)})  # fmt: skip
        return pd.DataFrame(rows)


def by_words(traces: Trace | Sequence[Trace], taxonomy: str | Taxonomy) -> Annotation:
    """Annotate by words alone. Descriptive: a sentence can say the words without doing it, and the reverse.

    Args:
        traces: of real text (`cut`).
        taxonomy: a registered one by its name, or one of your own.

    Raises:
        ArgumentError, UnknownNameError: no traces, no taxonomy. DataError: traces of a parsed task.
    """
    taxonomy = find_taxonomy(taxonomy)
    texts = tuple(text_trace(trace) for trace in as_traces(traces))
    marks = [tuple(taxonomy.words_say(s.text) for s in trace.sentences) for trace in texts]
    return Annotation(taxonomy, WORDS, texts, tuple(marks))


@checked
def compare(
    first: Annotation, second: Annotation, *, draws: Positive = DRAWS, seed: Seed = 0
) -> pd.DataFrame:
    """Cohen's kappa of two annotations, one row per category, over the sentences that both annotated.

    Columns: taxonomy, category, first, second, kappa, low, high (NaN where undefined: `why_none`), both,
    only_first, only_second, neither [sentences], problems, missing [rollouts that either left out].

    Raises:
        DataError: they annotate other rollouts or by another taxonomy, or have no sentence in common.
    """
    if first.taxonomy != second.taxonomy or first.traces != second.traces:
        raise DataError(
            f"annotations by {first.by!r} and {second.by!r} are of different rollouts or taxonomies",
            do="annotate the same traces by one taxonomy",
        )
    pairs = [
        (trace.rollout.problem.id, a, b)
        for trace, one, other in zip(first.traces, first.marks, second.marks, strict=True)
        if one is not None and other is not None
        for a, b in zip(one, other, strict=True)
    ]
    if not pairs:
        raise DataError("no sentence was annotated by both", do="use more rollouts, or look at `.missing`")
    missing = len(first.missing.keys() | second.missing.keys())
    rows = []
    for name in first.taxonomy.names:
        kappa = _agreement(pairs, name, draws=draws, seed=seed)
        about = {"taxonomy": first.taxonomy.name, "category": name, "first": first.by, "second": second.by}
        rows.append(about | asdict(kappa) | {"missing": missing})
    return pd.DataFrame(rows).astype({"kappa": float, "low": float, "high": float})


def _agreement(
    pairs: Sequence[tuple[str, frozenset[str], frozenset[str]]], name: str, *, draws: int, seed: int
) -> Agreement:
    problems, one, other = zip(*pairs, strict=True)
    return cohen_kappa(
        [name in a for a in one], [name in b for b in other], problems=problems, draws=draws, seed=seed
    )
