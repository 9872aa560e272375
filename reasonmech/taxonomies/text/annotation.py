"""Annotations: which categories each sentence of a rollout belongs to, by words or by a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pandas as pd

from reasonmech.errors import DataError
from reasonmech.labels import Span
from reasonmech.rollout import Rollout
from reasonmech.stats import DRAWS
from reasonmech.stats.kappa import Agreement, agreement_of
from reasonmech.taxonomies.text.cut import CutRollout
from reasonmech.taxonomies.text.taxonomy import Taxonomy

Marks = tuple[frozenset[str], ...]  # per sentence, its categories


@dataclass(frozen=True)
class Annotation:
    """Categories of the sentences of rollouts.

    Attributes:
        by: "words", or the judge's name.
        marks: per rollout, the categories of each of its sentences; None where the annotator gave no valid
            answer.
        missing: rollout index -> why there is none.
    """

    taxonomy: Taxonomy
    by: str
    cuts: tuple[CutRollout, ...]
    marks: tuple[Marks | None, ...]
    missing: Mapping[int, str] = field(default_factory=dict)

    @property
    def rollouts(self) -> list[Rollout]:
        return [found.rollout for found in self.cuts]

    def answered(self) -> Annotation:
        """The same without the rollouts that are missing: what labels can be made of."""
        kept = [i for i, marks in enumerate(self.marks) if marks is not None]
        return Annotation(
            self.taxonomy, self.by, tuple(self.cuts[i] for i in kept), tuple(self.marks[i] for i in kept)
        )

    def spans(self, category: str) -> list[list[Span]]:
        """Per rollout, token spans of the sentences of a category: what `rm.Labels.from_spans` takes.

        Raises:
            UnknownNameError: no such category.
            DataError: rollouts are missing; their tokens would count as negative.
        """
        self.taxonomy.check(category)
        if self.missing:
            raise DataError(
                f"{len(self.missing)} of {len(self.cuts)} rollouts have no annotation by {self.by!r}",
                do="take `.answered()`, and its rollouts, or ask the judge again",
            )
        return [
            [s.tokens for s, names in zip(found.sentences, marks, strict=True) if category in names]
            for found, marks in zip(self.cuts, self.marks, strict=True)
            if marks is not None
        ]

    def table(self) -> pd.DataFrame:
        """One row per category: sentences that have it, share of all sentences, rollouts with any; and the
        missing."""
        told = [marks for marks in self.marks if marks is not None]
        total = sum(len(marks) for marks in told)
        rows = []
        for name in self.taxonomy.names:
            hits = [sum(name in names for names in marks) for marks in told]
            share = sum(hits) / total if total else float("nan")
            rows.append({"taxonomy": self.taxonomy.name, "by": self.by, "category": name,
                         "sentences": sum(hits),
                         "share": share, "rollouts": sum(h > 0 for h in hits), "n_rollouts": len(told),
                         "missing": len(self.missing)})  # fmt: skip
        return pd.DataFrame(rows)


def by_words(cuts: Sequence[CutRollout], taxonomy: Taxonomy) -> Annotation:
    """Annotate by words alone. Descriptive: a sentence can say the words without doing it, and the
    reverse."""
    marks = [tuple(taxonomy.words_say(s.text) for s in found.sentences) for found in cuts]
    return Annotation(taxonomy, "words", tuple(cuts), tuple(marks))


def compare(first: Annotation, second: Annotation, *, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """Cohen's kappa of two annotations, one row per category, over the sentences that both annotated.

    Columns: taxonomy, category, first, second, kappa, low, high (NaN where undefined: `why_none`), both,
    only_first, only_second, neither [sentences], problems, missing [rollouts that either left out].

    Raises:
        DataError: they annotate other rollouts or by another taxonomy, or have no sentence in common.
    """
    if first.taxonomy != second.taxonomy or first.cuts != second.cuts:
        raise DataError(
            f"annotations by {first.by!r} and {second.by!r} are of different rollouts or taxonomies",
            do="annotate the same cut rollouts by one taxonomy",
        )
    pairs = [
        (found.rollout.problem.id, a, b)
        for found, one, other in zip(first.cuts, first.marks, second.marks, strict=True)
        if one is not None and other is not None
        for a, b in zip(one, other, strict=True)
    ]
    if not pairs:
        raise DataError("no sentence was annotated by both", do="use more rollouts, or look at `.missing`")
    missing = len(first.missing.keys() | second.missing.keys())
    rows = []
    for name in first.taxonomy.names:
        found = _agreement(pairs, name, draws=draws, seed=seed)
        about = {"taxonomy": first.taxonomy.name, "category": name, "first": first.by, "second": second.by}
        rows.append(about | asdict(found) | {"missing": missing})
    return pd.DataFrame(rows).astype({"kappa": float, "low": float, "high": float})


def _agreement(
    pairs: Sequence[tuple[str, frozenset[str], frozenset[str]]], name: str, *, draws: int, seed: int
) -> Agreement:
    problems, one, other = zip(*pairs, strict=True)
    return agreement_of(
        [name in a for a in one], [name in b for b in other], problems=problems, draws=draws, seed=seed
    )
