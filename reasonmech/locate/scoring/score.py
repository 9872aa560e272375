"""Score: what can be said of every feature of a coder at once; one file per score, registered in `scores`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, final

import pandas as pd

from reasonmech.arguments import describe
from reasonmech.errors import ArgumentError
from reasonmech.labels import Labels
from reasonmech.locate.p_values import Discovered
from reasonmech.locate.rows.codes import Firing
from reasonmech.locate.rows.context import Context
from reasonmech.locate.rows.sample import Sample, Search
from reasonmech.registry import Registry

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations

scores: Registry[type[Score]] = Registry("score")


class Need(NamedTuple):
    """Something that a score reads beside activations and a coder.

    Attributes:
        name: the field of the score that carries it; "labels" is the argument of `locate`.
        what: in words.
        give: code that gives it.
    """

    name: str
    what: str
    give: str


LABELS: Final = Need("labels", "rows that are positive or negative", "rm.locate(acts, labels, coder)")
ROWS: Final = Need("labels", "rows to read, positive or not", "rm.locate(acts, labels, coder, score=...)")


@final
@dataclass(frozen=True, eq=False)
class SearchData:
    """What `locate` hands to a score.

    Attributes:
        acts: activations at the coder's site.
        rows: labels, where there are any; a score takes them by `labels`.
        coder: whose features are scored.
        context: covariates and the ceiling, for scores that read them.
        search: split, number of features valued, draws, seed, correction.
    """

    acts: Activations
    rows: Labels | None
    coder: SparseCoder
    context: Context
    search: Search

    @property
    def labels(self) -> Labels:
        """The labelled rows, for a score that needs them: `locate` has made sure that there are some."""
        assert self.rows is not None
        return self.rows


class Measured(NamedTuple):
    """What a score says, as `locate` writes it down.

    Attributes:
        labels: the rows that were read, whose positive spans are counted.
        test: the rows of held-out problems, on which detectors were valued.
        discovered: what the training problems say of every feature.
        firing: how features fire on the rows.
        valued: one row per detector with a held-out value: kind ("feature", or what stands beside features),
            feature (-1 for what is none), value, low, high, and further columns of the score's own.
    """

    labels: Labels
    test: Sample
    discovered: Discovered
    firing: Firing
    valued: pd.DataFrame


class Score(ABC):
    """One number per feature, with its p-value and interval by problem; a frozen value, settings as fields.

    A score that tells positive rows from negative ones by one number per row is a `DetectionScore`, which
    splits, ranks and values by itself.

    Attributes:
        unit: of its values.
        needs: what it reads beside activations and a coder. A field of that name carries each, but labels.
        reads_context: whether covariates and a ceiling say anything to it.
    """

    unit: str
    needs: ClassVar[tuple[Need, ...]] = (LABELS,)
    reads_context: ClassVar[bool] = False

    @abstractmethod
    def measure(self, data: SearchData) -> Measured:
        """Score every feature of the coder, and value the best of them."""


def kind_of(score: Score) -> str:
    """The kind that a score is registered under. Raises ArgumentError where it is not."""
    for kind in scores.kinds():
        if scores.get(kind) is type(score):
            return kind
    raise ArgumentError(
        f"score is {describe(score)}, which is not registered",
        allowed=", ".join(scores.kinds()),
        do='put @scores.register("its kind") above its class',
    )


def as_score(score: str | Score) -> Score:
    """The score itself, or the registered one of that kind where it needs nothing but labels.

    Raises:
        UnknownNameError: no such kind.
        ArgumentError: it is no score, or one that a name alone can't give what it needs.
    """
    if isinstance(score, Score):
        return score
    if isinstance(score, str):
        cls = scores.get(score)
        if not issubclass(cls, Score):
            raise ArgumentError(
                f"score {score!r} is {describe(cls)}, which is no Score",
                do="derive it from reasonmech.locate.DetectionScore",
            )
        if missing := needed_fields(cls):
            what = " and ".join(f"{need.name} ({need.what})" for need in missing)
            raise ArgumentError(
                f"score {score!r} needs {what}, which a name does not carry",
                allowed=f"by name: {', '.join(by_name())}",
                do=f"score={missing[0].give}",
            )
        return cls()
    called = f"{score.__name__}(...)" if isinstance(score, type) else "Auroc()"
    raise ArgumentError(
        f"score is {describe(score)}",
        allowed=f"a kind ({', '.join(by_name())}) or a value such as rm.features.LatentScaling(sibling=acts)",
        do=f'score="auroc", or score={called}; a score of your own is a class: CONTRIBUTING.md#score',
    )


def needed_fields(cls: type[Score]) -> tuple[Need, ...]:
    """What a value of the score has to carry."""
    return tuple(need for need in cls.needs if need.name != LABELS.name)


def by_name() -> list[str]:
    """Kinds of the scores that a name alone gives: they need nothing but labels."""
    classes = ((kind, scores.get(kind)) for kind in scores.kinds())
    return [kind for kind, cls in classes if issubclass(cls, Score) and not needed_fields(cls)]
