"""LadderSearch: detection of one behaviour by features chosen elsewhere, beside baselines of equal budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, final

import pandas as pd

from reasonmech.behaviours import label
from reasonmech.coders import SparseCoder
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.coders import FIT_ROLLOUTS, read_coders
from reasonmech.experiments.stages.locate import SearchScope, TextActivations, labels_among
from reasonmech.experiments.stages.moments import onset_ids
from reasonmech.experiments.stages.preservation import read_preservation
from reasonmech.experiments.stages.random_model import random_features
from reasonmech.experiments.stages.rollouts import Source, read_by_base
from reasonmech.hosts import Host
from reasonmech.labels import Labels
from reasonmech.locate import (
    BehaviourPreservation,
    Context,
    FeatureTable,
    Search,
    behaviour_preservation,
    ladder,
    locate,
    next_token,
    previous_kinds,
)
from reasonmech.locate.falsify import (
    Attempt,
    Baselines,
    Corpus,
    Falsification,
    RandomInit,
    Residualised,
    falsify,
    random_twin,
)
from reasonmech.rollout import Rollouts
from reasonmech.runtime import Activations, FitReport, capture, check_fit
from reasonmech.tasks import parse

STUDIED: Final[dict[str, Source]] = {"base": "study_base", "thinking": "study_thinking"}
KEPT_ROLLOUTS: Final = 30  # on which a coder that the stage `kept` did not ask is asked for the behaviour


class LadderSettings(NamedTuple):
    """How much is read: rollouts of each model, rows of a search, bootstrap draws."""

    rollouts: int
    rows: int
    draws: int


@final
@dataclass(frozen=True, eq=False)
class LadderSearch:
    """One behaviour on one text, and the features of one coder that a run writes for it.

    Attributes:
        null: activations of the random model on the same text; its features in `null_coder` are as many as
            the coder's.
    """

    text: TextActivations
    labels: Labels
    coder: SparseCoder
    features: tuple[int, ...]
    known: Context
    search: Search
    null: Activations
    null_coder: SparseCoder
    fit: FitReport
    preservation: BehaviourPreservation | None

    @cached_property
    def auroc(self) -> FeatureTable:
        return locate(self.text.acts, self.labels, self.coder, search=self.search)

    @cached_property
    def random(self) -> FeatureTable:
        """The same search among as many features of a random model."""
        return locate(self.null, self.labels, self.null_coder, search=self.search)

    @property
    def corpus(self) -> Corpus:
        return Corpus(self.text.acts, self.labels, self.text.rollouts, self.search)

    @cached_property
    def of_text(self) -> Baselines:
        assert self.known.covariates is not None
        return Baselines(self.corpus, previous=self.known.covariates["previous"].to_numpy())

    @cached_property
    def hazard(self) -> FeatureTable:
        return locate(
            self.text.acts,
            self.labels,
            self.coder,
            score="hazard",
            context=self.known,
            search=self.search,
        )

    def falsify(self, features: Sequence[int], by_texts: Sequence[Attempt] = ()) -> Falsification:
        """Features met by every attempt, those by written texts among them."""
        attempts = [Residualised(self.corpus), self.of_text, RandomInit(self.auroc, self.random), *by_texts]
        return falsify(self.auroc, self.coder, attempts=attempts, features=features)

    def climb(self, falsification: Falsification) -> pd.DataFrame:
        """Verdicts on C0, C1 and C2 of each feature: feature, claim, verdict, reason."""
        return ladder(
            self.features,
            fit=self.fit,
            table=[self.auroc, self.hazard],
            falsification=falsification,
            preservation=self.preservation,
        )

    def detecting(self) -> tuple[int, ...]:
        """Features of which C0 and C1 are supported: C2 is tested of no others."""
        frame = self.climb(self.falsify(()))
        detects = frame["claim"].str.startswith("C1") & (frame["verdict"] == "SUPPORTED")
        return tuple(frame.loc[detects, "feature"].tolist())

    @property
    def baselines(self) -> pd.DataFrame:
        """AUROC of what needs no coder, and of what was never trained: baseline, value, low, high, searched.

        `searched`: how many candidates the best was chosen from, on the problems that are not held out.
        """
        of_text = self.of_text.alone().assign(searched=1)
        rows = [
            _valued(self.auroc, "feature", "best feature", self.coder.d_sae),
            _valued(self.auroc, "diff_mean", "difference of means", 1),
            _valued(self.auroc, "probe", "probe of the stream", 1),
            _valued(self.random, "feature", "best feature of a random model", self.null_coder.d_sae),
            _valued(self.random, "probe", "probe of a random model's stream", 1),
        ]
        return pd.concat([of_text, pd.DataFrame([row for row in rows if row])], ignore_index=True)


def _valued(table: FeatureTable, kind: str, name: str, searched: int) -> dict[str, float | str]:
    """The held-out value of a detector, of features that of the best by training value."""
    frame = table.frame
    rows = frame.loc[(frame["kind"] == kind) & frame["value"].notna()]
    if rows.empty:
        return {}
    if kind == "feature":
        rows = rows.sort_values(["sign", "train_value"], ascending=False)
    row = rows.iloc[0]
    ends = {key: float(row[key]) for key in ("value", "low", "high")}
    return {"baseline": name} | ends | {"searched": searched}


@final
class LadderBench:
    """Texts of the evaluation problems as the base and its random twin read them; each is read once."""

    def __init__(self, context: StageContext, settings: LadderSettings) -> None:
        self._context, self._settings = context, settings
        self._coders = read_coders(context)
        self._texts: dict[str, TextActivations] = {}
        self._nulls: dict[str, Activations] = {}
        self._fits: dict[str, FitReport] = {}
        self._kept = read_preservation(context)

    @cached_property
    def _twin(self) -> Host:
        return random_twin(self._context.pair.base, seed=self._context.seed)

    def search(
        self, scope: SearchScope, behaviour: str, name: str, features: tuple[int, ...]
    ) -> LadderSearch:
        """Features of a coder, searched for a behaviour. Raises DataError where the text cannot tell."""
        context, settings, coder = self._context, self._settings, self._coders[name]
        text, seed = self._text(scope.source), context.seed
        labels = labels_among(text, behaviour, scope.among, rows=settings.rows, seed=seed)
        search = Search(top=1, draws=settings.draws, seed=seed, also=features)
        null = self._null(scope.source)
        return LadderSearch(
            text,
            labels,
            coder,
            features,
            self._known(text, labels),
            search,
            null,
            random_features(self._twin, null, coder.site, n=coder.d_sae, seed=seed),
            self._fit(name),
            self._preservation(name, behaviour) if labels.mode == "anticipates" else None,
        )

    @property
    def _sites(self) -> list[str]:
        return sorted({str(coder.site) for coder in self._coders.values()})

    def _text(self, source: str) -> TextActivations:
        if source not in self._texts:
            context = self._context
            written = read_by_base(context, STUDIED[source])
            n = min(self._settings.rollouts, len(written))
            chosen = [written[i * len(written) // n] for i in range(n)]
            rollouts = Rollouts(chosen, task=written.task, writer=written.writer)
            last = f"resid_post.{context.pair.base.n_layers - 1}"
            sites = list(dict.fromkeys([*self._sites, last]))
            acts = capture(context.pair.base, rollouts, sites, progress=False)
            self._texts[source] = TextActivations(
                "base" if source == "base" else "thinking", rollouts, parse(rollouts), acts
            )
        return self._texts[source]

    def _null(self, source: str) -> Activations:
        if source not in self._nulls:
            rollouts = self._text(source).rollouts
            self._nulls[source] = capture(self._twin, rollouts, self._sites, progress=False)
        return self._nulls[source]

    def _known(self, text: TextActivations, labels: Labels) -> Context:
        """Entropy and the kind of the sentence before: what the hazard knows without a feature."""
        context = self._context
        onset = onset_ids(context.pair.base, context.problems.task, labels.behaviour)
        entropy = next_token(context.pair.base, text.rollouts, labels, onset, acts=text.acts).entropy
        previous = previous_kinds(labels, text.traces)
        return Context(pd.DataFrame({"entropy": entropy, "previous": previous}))

    def _fit(self, name: str) -> FitReport:
        if name not in self._fits:
            parts = [self._text(source).rollouts[:FIT_ROLLOUTS] for source in STUDIED]
            text = [rollout for part in parts for rollout in part]
            self._fits[name] = check_fit(self._context.pair.base, self._coders[name], text, progress=False)
        return self._fits[name]

    def _preservation(self, name: str, behaviour: str) -> BehaviourPreservation:
        """What the stage `kept` measured, or, of a coder that it did not ask, on a few thinking rollouts."""
        if (name, behaviour) not in self._kept:
            context, text = self._context, self._text("thinking")
            host, rollouts = context.pair.base, text.rollouts[:KEPT_ROLLOUTS]
            self._kept[name, behaviour] = behaviour_preservation(
                host,
                self._coders[name],
                rollouts=rollouts,
                labels=label(text.traces[:KEPT_ROLLOUTS], behaviour),
                onset_ids=onset_ids(host, context.problems.task, behaviour),
                draws=self._settings.draws,
            )
        return self._kept[name, behaviour]
