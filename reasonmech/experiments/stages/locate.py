"""Stage `locate`: which features of the base tell that a behaviour is about to begin, or is here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm.auto import tqdm

from reasonmech.behaviours import behaviours, label
from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.coders import all_sites, read_coders
from reasonmech.experiments.stages.moments import onset_id
from reasonmech.experiments.stages.rollouts import Source, read_rollouts
from reasonmech.labels import Labels, Opportunity
from reasonmech.locate import Context, FeatureTable, Search, locate, next_token, previous_kinds
from reasonmech.rollout import Rollouts, Trace
from reasonmech.runtime import Activations, capture
from reasonmech.tasks import parse

Among = Literal["opportunities", "boundaries", "tokens"]
RECOGNISED_ROWS = 20_000  # tokens of a recognition search: every generated token is a row, so they are thinned


@dataclass(frozen=True, eq=False)
class Text:
    """Rollouts that the base read, with what it held at every layer."""

    source: Source
    rollouts: Rollouts
    traces: Sequence[Trace]
    acts: Activations


@stages.register("locate")
class LocateFeatures(Stage):
    """Score every feature of every coder for every behaviour, on the base's own text and on thinking rollouts."""

    needs = ("rollouts", "coders")

    kind: Literal["locate"] = "locate"
    behaviours: tuple[str, ...] = Field(("step", "check", "backtrack"), min_length=1)
    scores: tuple[str, ...] = Field(("auroc", "hazard"), min_length=1, description="registered scores, anticipating")
    sources: tuple[Literal["base", "thinking"], ...] = Field(("base", "thinking"), min_length=1)
    top: int = Field(16, gt=0, description="features of a search that get a held-out value and an interval")
    draws: int = Field(1000, gt=0, description="bootstrap draws per interval")

    def run(self, context: StageContext) -> None:
        coders = read_coders(context)
        texts = [self._read(context, source) for source in self.sources]
        found, notes = [], []
        searches = list(self._searches(context, texts, coders))
        for one in tqdm(searches, desc="locate", disable=not context.progress):
            try:
                found.append(one.run(Search(top=self.top, draws=self.draws, seed=context.seed)))
            except DataError as error:
                notes.append(f"{one}: {error.happened}")
        if not found:
            raise DataError("no behaviour could be searched for:\n  " + "\n  ".join(notes), do="use more rollouts")
        context.write_features(pd.concat(found, ignore_index=True).assign(selected=False))
        context.write_notes(list(dict.fromkeys(notes)))

    def _read(self, context: StageContext, source: Source) -> Text:
        rollouts, host = read_rollouts(context, source), context.pair.base
        sites = dict.fromkeys([*(str(c.site) for c in read_coders(context).values()), all_sites(host)[-1]])
        return Text(source, rollouts, parse(rollouts), capture(host, rollouts, list(sites), progress=context.progress))

    def _scopes(self) -> list[tuple[Among, tuple[str, ...]]]:
        """Rows of a search, and the scores that rank features on them."""
        return [("opportunities", self.scores), ("boundaries", ("auroc",)), ("tokens", ("auroc",))]

    def _searches(
        self, context: StageContext, texts: Sequence[Text], coders: Mapping[str, SparseCoder]
    ) -> Iterator[_Search]:
        for text in texts:
            for behaviour in self.behaviours:
                for among, scores in self._scopes():
                    labels = _labels(text, behaviour, among)
                    if labels is None:
                        continue
                    known = _known(context, text, labels) if labels.mode == "anticipates" else Context()
                    for score, (name, coder) in product(scores, coders.items()):
                        yield _Search(text, labels, known, score, among, name, coder)


@dataclass(frozen=True, eq=False)
class _Search:
    text: Text
    labels: Labels
    context: Context
    score: str
    among: Among
    name: str
    coder: SparseCoder

    def run(self, search: Search) -> pd.DataFrame:
        table = locate(self.text.acts, self.labels, self.coder, score=self.score, context=self.context, search=search)
        valued = table.frame.value.notna() | (table.frame.train_value.rank(ascending=False) <= search.top)
        return table.frame.loc[valued].assign(coder=self.name, source=self.text.source, among=self.among)

    def __str__(self) -> str:
        return f"{self.score} of {self.labels.behaviour} among {self.among} of {self.text.source} text"


def _labels(text: Text, behaviour: str, among: Among) -> Labels | None:
    """None where the text holds no row of the behaviour: the search would have nothing to say."""
    try:
        if among == "boundaries":
            return _at_boundaries(text, behaviour)
        labels = label(text.traces, behaviour, mode="recognises" if among == "tokens" else "anticipates")
    except DataError:
        return None
    if among == "opportunities" or len(labels) <= RECOGNISED_ROWS:
        return labels
    kept = np.arange(0, len(labels), -(-len(labels) // RECOGNISED_ROWS))
    return replace(
        labels,
        rollout=labels.rollout[kept],
        position=labels.position[kept],
        positive=labels.positive[kept],
        problem=labels.problem[kept],
    )


def _at_boundaries(text: Text, behaviour: str) -> Labels:
    """Every sentence boundary is a row: what tells an opportunity from any other moment counts as well."""
    begins = [{o.offset for o in behaviours.get(behaviour).opportunities(t) if o.onset} for t in text.traces]
    every = [
        [Opportunity(s.start, s.start in onsets) for s in trace.sentences]
        for trace, onsets in zip(text.traces, begins, strict=True)
    ]
    return Labels.from_opportunities(behaviour, [trace.rollout for trace in text.traces], every)


def _known(context: StageContext, text: Text, labels: Labels) -> Context:
    """What is known before the onset without any feature: entropy, previous kind, and the base's own probability."""
    host, task = context.pair.base, context.problems.task
    seen = next_token(host, text.rollouts, labels, [onset_id(host, task, labels.behaviour)], acts=text.acts)
    covariates = pd.DataFrame({"entropy": seen.entropy, "previous": previous_kinds(labels, text.traces)})
    return Context(covariates, seen.onset_probability.to_numpy())


def read_table(context: StageContext) -> FeatureTable:
    """What the stage found."""
    return FeatureTable.load(context.of("locate") / "features.parquet")
