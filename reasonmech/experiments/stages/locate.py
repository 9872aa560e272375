"""Stage `locate`: which features of the base tell that a behaviour is about to begin, or is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm.auto import tqdm

from reasonmech.behaviours import behaviours, label
from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError
from reasonmech.experiments.stages.base import Settings, Stage, StageContext, stages
from reasonmech.experiments.stages.coders import all_sites, read_coders
from reasonmech.experiments.stages.moments import onset_id
from reasonmech.experiments.stages.rollouts import Source, read_rollouts
from reasonmech.labels import Labels, Opportunity
from reasonmech.locate import Context, FeatureTable, Search, locate, next_token, previous_kinds
from reasonmech.rollout import Rollouts, Trace
from reasonmech.runtime import Activations, capture
from reasonmech.tasks import parse

Among = Literal["opportunities", "boundaries", "tokens"]


@dataclass(frozen=True, eq=False)
class Text:
    """Rollouts that the base read, with what it held at every layer."""

    source: Source
    rollouts: Rollouts
    traces: Sequence[Trace]
    acts: Activations


class Where(Settings):
    """On which text, and among which of its positions, detectors are searched for."""

    source: Literal["base", "thinking"] = Field(default="base", description="whose rollouts the base reads")
    among: Among = Field(
        default="opportunities",
        description="opportunities: where the behaviour could begin; boundaries: all sentence boundaries, "
        "so that "
        "telling an opportunity counts as well; tokens: every token, inside the behaviour or not "
        "(recognition)",
    )


class Wanted(Where):
    """One search per behaviour and coder."""

    score: str = Field(default="auroc", description="registered score")


@stages.register("locate")
class LocateFeatures(Stage):
    """Score every feature of every coder for every behaviour, on the base's own text and on thinking
    rollouts."""

    needs = ("rollouts", "coders")

    kind: Literal["locate"] = "locate"
    behaviours: tuple[str, ...] = Field(("step", "check", "backtrack"), min_length=1)
    searches: tuple[Wanted, ...] = Field(
        (
            Wanted(),
            Wanted(score="hazard"),
            Wanted(source="thinking"),
            Wanted(source="thinking", among="boundaries"),
            Wanted(among="tokens"),
        ),
        min_length=1,
    )
    rows: int = Field(
        6000, gt=0, description="most rows of a search among boundaries or tokens; drawn beyond that"
    )
    top: int = Field(16, gt=0, description="features of a search that get a held-out value and an interval")
    draws: int = Field(1000, gt=0, description="bootstrap draws per interval")

    def run(self, context: StageContext) -> None:
        coders, search = read_coders(context), Search(top=self.top, draws=self.draws, seed=context.seed)
        sources: set[Source] = {wanted.source for wanted in self.searches}
        texts = {source: read_text(context, source, coders) for source in sorted(sources)}
        found: list[FeatureTable] = []
        notes = []
        plans = list(product(self.searches, self.behaviours))
        for wanted, behaviour in tqdm(plans, desc="locate", disable=not context.progress):
            text = texts[wanted.source]
            try:
                labels = labels_among(text, behaviour, wanted.among, rows=self.rows, seed=context.seed)
                known = _known(context, text, labels) if labels.mode == "anticipates" else Context()
            except DataError as error:
                notes.append(f"{_what(wanted, behaviour)}: {error.happened}")
                continue
            for name, coder in coders.items():
                try:
                    table = locate(text.acts, labels, coder, score=wanted.score, context=known, search=search)
                except DataError as error:
                    notes.append(f"{_what(wanted, behaviour)} by {name}: {error.happened}")
                    continue
                said = {"coder": name, "source": wanted.source, "among": wanted.among, "selected": False}
                found.append(
                    FeatureTable(table.frame.assign(**said, kept=_worth_keeping(table.frame, self.top)))
                )
        if not found:
            raise DataError(
                "no behaviour could be searched for:\n  " + "\n  ".join(notes), do="use more rollouts"
            )
        searched = FeatureTable.concat(found).frame  # corrected over all that was searched, then thinned
        context.write_features(
            searched.loc[searched.kept.astype(bool)].drop(columns="kept").reset_index(drop=True)
        )
        context.write_notes(notes)


def _what(wanted: Wanted, behaviour: str) -> str:
    return f"{wanted.score} of {behaviour} among {wanted.among} of {wanted.source} text"


def read_text(context: StageContext, source: Source, coders: Mapping[str, SparseCoder]) -> Text:
    """Rollouts of one model as the base reads them, at every coder's site and the last layer."""
    rollouts, host = read_rollouts(context, source), context.pair.base
    sites = dict.fromkeys([*(str(coder.site) for coder in coders.values()), all_sites(host)[-1]])
    return Text(
        source, rollouts, parse(rollouts), capture(host, rollouts, list(sites), progress=context.progress)
    )


def _worth_keeping(frame: pd.DataFrame, top: int) -> pd.Series:
    """Which rows: what has a held-out value, and the best of the training split."""
    return frame.value.notna() | (frame.train_value.rank(ascending=False) <= top)


def labels_among(text: Text, behaviour: str, among: Among, *, rows: int, seed: int) -> Labels:
    """Labels of a behaviour among some positions; at most `rows` of those that are not opportunities."""
    if among == "boundaries":
        labels = _at_boundaries(text, behaviour)
    else:
        labels = label(text.traces, behaviour, mode="recognises" if among == "tokens" else "anticipates")
    if among == "opportunities" or len(labels) <= rows:
        return labels
    # at random: a stride would meet sentences that alternate always on the same foot
    kept = np.sort(np.random.default_rng(seed).choice(len(labels), rows, replace=False))
    return labels.take(kept)


def _at_boundaries(text: Text, behaviour: str) -> Labels:
    """Every sentence boundary is a row: what tells an opportunity from any other moment counts as well."""
    begins = [{o.offset for o in behaviours.get(behaviour).opportunities(t) if o.onset} for t in text.traces]
    every = [
        [Opportunity(s.start, s.start in onsets) for s in trace.sentences]
        for trace, onsets in zip(text.traces, begins, strict=True)
    ]
    return Labels.from_opportunities(behaviour, [trace.rollout for trace in text.traces], every)


def _known(context: StageContext, text: Text, labels: Labels) -> Context:
    """What is known before the onset without any feature: entropy, previous kind, and the base's own
    probability."""
    host, task = context.pair.base, context.problems.task
    seen = next_token(host, text.rollouts, labels, [onset_id(host, task, labels.behaviour)], acts=text.acts)
    covariates = pd.DataFrame({"entropy": seen.entropy, "previous": previous_kinds(labels, text.traces)})
    return Context(covariates, seen.onset_probability.to_numpy())


def read_table(context: StageContext) -> FeatureTable:
    """What the stage found."""
    return FeatureTable.load(context.of("locate") / "features.parquet")
