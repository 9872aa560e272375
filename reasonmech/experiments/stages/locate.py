"""Stage `locate`: which features of the base tell that a behaviour is about to begin, or is under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field
from tqdm.auto import tqdm

from reasonmech.behaviours import behaviours, label
from reasonmech.coders import SparseCoder
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.coders import all_sites, read_coders
from reasonmech.experiments.stages.moments import onset_ids
from reasonmech.experiments.stages.rollouts import Source, read_by_base
from reasonmech.experiments.stages.search_scores import (
    RunScores,
    ScoreSetting,
    check_score,
    kind_and_settings,
)
from reasonmech.hosts import ModelPair
from reasonmech.labels import Labels, Opportunity
from reasonmech.locate import Context, FeatureTable, Search, locate, next_token, previous_kinds
from reasonmech.locate.table import COLUMNS, MARKS
from reasonmech.rollout import Rollouts, Trace
from reasonmech.runtime import Activations, capture
from reasonmech.settings import Settings
from reasonmech.tasks import parse
from reasonmech.tasks.questions import check_behaviour

Among = Literal["opportunities", "boundaries", "tokens"]


@dataclass(frozen=True, eq=False)
class TextActivations:
    """Rollouts that the base read, with its activations at every layer."""

    source: Source
    rollouts: Rollouts
    traces: Sequence[Trace]
    acts: Activations


class SearchScope(Settings):
    """On which text, and among which of its positions, detectors are searched for."""

    source: Literal["base", "thinking"] = Field(default="base", description="whose rollouts the base reads")
    among: Among = Field(
        default="opportunities",
        description="opportunities: where the behaviour could begin; boundaries: all sentence boundaries, "
        "so that telling an opportunity counts as well; tokens: every token, inside the behaviour or not "
        "(recognition)",
    )


class FeatureSearch(SearchScope):
    """One search per behaviour and coder.

    Attributes:
        behaviours: those that are searched for in this way; empty: all of the stage's. A search that the
            data cannot answer (nothing to tell apart, too few problems) is reported as missing.
    """

    behaviours: tuple[str, ...] = Field(
        default=(), description="behaviours searched for; empty: all of the stage"
    )

    score: Annotated[ScoreSetting, AfterValidator(check_score)] = Field(
        default="auroc",
        description="registered score that a run can give what it needs; or its kind and settings",
    )


@stages.register("locate")
class LocateFeatures(Stage):
    """Score every feature of every coder for every behaviour, on base text and on thinking rollouts."""

    needs = ("rollouts", "coders")

    kind: Literal["locate"] = "locate"
    behaviours: tuple[str, ...] = Field(("step", "check", "backtrack"), min_length=1)
    searches: tuple[FeatureSearch, ...] = Field(
        (
            FeatureSearch(),
            FeatureSearch(score="hazard"),
            FeatureSearch(source="thinking"),
            FeatureSearch(source="thinking", among="boundaries"),
            FeatureSearch(among="tokens"),
        ),
        min_length=1,
    )
    rows: int = Field(
        6000, gt=0, description="most rows of a search among boundaries or tokens; drawn beyond that"
    )
    top: int = Field(16, gt=0, description="features of a search that get a held-out value and an interval")
    draws: int = Field(1000, gt=0, description="bootstrap draws per interval")

    def run(self, context: StageContext) -> None:
        coders, settings = read_coders(context), Search(top=self.top, draws=self.draws, seed=context.seed)
        sources: set[Source] = {search.source for search in self.searches}
        texts = {source: read_text(context, source, coders) for source in sorted(sources)}
        tables: list[FeatureTable] = []
        ledger, scores = Ledger(), RunScores(context, coders)
        for search, behaviour in tqdm(self._tasks(), desc="locate", disable=not context.progress):
            text, items = texts[search.source], [search_item(search, behaviour, name) for name in coders]
            with ledger.attempt("search", *items):
                labels = labels_among(text, behaviour, search.among, rows=self.rows, seed=context.seed)
                score = scores.make(search.score, text, behaviour)
                reads_context = score.reads_context and labels.mode == "anticipates"
                known = _known_before(context, text, labels) if reads_context else None
                for item, (name, coder) in zip(items, coders.items(), strict=True):
                    with ledger.attempt("search", item):
                        table = locate(text.acts, labels, coder, score=score, context=known, search=settings)
                        tables.append(self._marked(table, search, name))
        context.write_features(_joined(tables))
        context.write_ledger(ledger)

    def check_pair(self, pair: ModelPair, task: str) -> None:
        for _, behaviour in self._tasks():
            check_behaviour(task, behaviour)

    def _tasks(self) -> list[tuple[FeatureSearch, str]]:
        """Every search with each of its behaviours."""
        return [(search, name) for search in self.searches for name in search.behaviours or self.behaviours]

    def _marked(self, table: FeatureTable, search: FeatureSearch, coder: str) -> FeatureTable:
        """A table that says which search it is of, and which of its rows are written."""
        columns = {"coder": coder, "source": search.source, "among": search.among, "selected": False}
        return FeatureTable(table.frame.assign(**columns, reported=_is_reported(table.frame, self.top)))


def search_item(search: FeatureSearch, behaviour: str, coder: str) -> str:
    """A search as the stage's ledger names it."""
    kind = kind_and_settings(search.score)[0]
    return f"{kind} of {behaviour} among {search.among} of {search.source} text by {coder}"


def _joined(tables: Sequence[FeatureTable]) -> pd.DataFrame:
    """The rows that are written, of all searches; none where none succeeded."""
    if not tables:
        return pd.DataFrame(columns=[*COLUMNS, *MARKS, "coder", "source", "among", "selected"])
    # p-values are corrected over all that was searched, so the rows are thinned only afterwards
    frame = FeatureTable.concat(tables).frame
    return frame.loc[frame.reported.astype(bool)].drop(columns="reported").reset_index(drop=True)


def read_text(context: StageContext, source: Source, coders: Mapping[str, SparseCoder]) -> TextActivations:
    """Rollouts of one model as the base reads them, at every coder's site and the last layer."""
    rollouts, host = read_by_base(context, source), context.pair.base
    sites = dict.fromkeys([*(str(coder.site) for coder in coders.values()), all_sites(host)[-1]])
    return TextActivations(
        source, rollouts, parse(rollouts), capture(host, rollouts, list(sites), progress=context.progress)
    )


def _is_reported(frame: pd.DataFrame, top: int) -> pd.Series:
    """Which rows are written: what has a held-out value, and the best of the training split."""
    return frame.value.notna() | (frame.train_value.rank(ascending=False) <= top)


def labels_among(text: TextActivations, behaviour: str, among: Among, *, rows: int, seed: int) -> Labels:
    """Labels of a behaviour among some positions; at most `rows` of those that are not opportunities."""
    if among == "boundaries":
        labels = _at_boundaries(text, behaviour)
    else:
        labels = label(text.traces, behaviour, mode="recognises" if among == "tokens" else "anticipates")
    if among == "opportunities" or len(labels) <= rows:
        return labels
    # at random: a stride would meet sentences that alternate always on the same foot
    sample = np.sort(np.random.default_rng(seed).choice(len(labels), rows, replace=False))
    return labels.take(sample)


def _at_boundaries(text: TextActivations, behaviour: str) -> Labels:
    """Every sentence boundary is a row: what tells an opportunity from any other moment counts as well."""
    begins = [{o.offset for o in behaviours.get(behaviour).opportunities(t) if o.onset} for t in text.traces]
    every = [
        [Opportunity(s.start, s.start in onsets) for s in trace.sentences]
        for trace, onsets in zip(text.traces, begins, strict=True)
    ]
    return Labels.from_opportunities(behaviour, [trace.rollout for trace in text.traces], every)


def _known_before(context: StageContext, text: TextActivations, labels: Labels) -> Context:
    """What is known without a feature: entropy, previous kind, and the base's own onset probability."""
    host, task = context.pair.base, context.problems.task
    onset = onset_ids(host, task, labels.behaviour)
    prediction = next_token(host, text.rollouts, labels, onset, acts=text.acts)
    previous = previous_kinds(labels, text.traces)
    covariates = pd.DataFrame({"entropy": prediction.entropy, "previous": previous})
    return Context(covariates, prediction.onset_probability.to_numpy())


def read_table(context: StageContext) -> FeatureTable:
    """The table that the stage wrote."""
    return FeatureTable.load(context.of("locate") / "features.parquet")
