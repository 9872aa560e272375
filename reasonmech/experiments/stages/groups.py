"""Stage `groups`: for each behaviour the features to write, and where: chosen on fitting problems only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.locate import Where, read_table
from reasonmech.experiments.stages.moments import HERE, Moments, at_opportunities, onset_id, respond
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.experiments.store import write_text
from reasonmech.experiments.tables import read_json
from reasonmech.interventions import Features, Intervention, clamp, labelled
from reasonmech.locate import FeatureTable, feature_stats, select
from reasonmech.runtime import capture
from reasonmech.tasks import parse

STATS_ROLLOUTS = 400  # of the base, on which mean activations are measured
ALPHA = 0.05  # false-discovery rate that a feature of a group passes


@dataclass(frozen=True)
class Group:
    """Features of one coder that go with a behaviour, the best first.

    Attributes:
        source, among: the search that ranked them.
        indices: features that are clamped.
        mean_active: mean activation of each where it fires on the base's own text, in activation units: dose 1.
        wider: features that are ablated, `indices` among them.
        dose: the dose with the strongest effect on the fitting problems.
        effect: mean P(onset) at that dose minus untouched, on the fitting problems.
    """

    behaviour: str
    coder: str
    site: str
    source: str
    among: str
    indices: tuple[int, ...]
    mean_active: tuple[float, ...]
    wider: tuple[int, ...]
    dose: float = 0.0
    effect: float = 0.0

    def amounts(self, dose: float) -> Float[Tensor, " coord"]:
        """What each feature is clamped to at a dose, in activation units."""
        return dose * torch.tensor(self.mean_active)


def read_groups(context: StageContext) -> list[Group]:
    """The group of each behaviour at the site where writing it does most."""
    return _parse(read_json(context.of("groups") / "groups.json")["best"])


def read_candidates(context: StageContext) -> list[Group]:
    """The group of each behaviour in every coder."""
    return _parse(read_json(context.of("groups") / "groups.json")["candidates"])


def _parse(rows: list[dict[str, object]]) -> list[Group]:
    pairs = ({k: tuple(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
    return [Group(**row) for row in pairs]  # pyright: ignore[reportArgumentType]


class _Named(NamedTuple):
    """A coder with its name and the mean activation [feature] of each feature where it fires."""

    name: str
    coder: SparseCoder
    mean_active: np.ndarray


@stages.register("groups")
class ChooseGroups(Stage):
    """Per behaviour and coder the features that best anticipate it; then the coder where clamping them does most.

    Where a behaviour is told and where it is decided may differ, so every site is tried; the last layer counts only
    for a behaviour that no earlier one moves by `enough`, and a note says so. Evaluation problems play no part.
    """

    needs = ("rollouts", "coders", "locate")

    kind: Literal["groups"] = "groups"
    sizes: dict[str, int] = Field(
        {"step": 3, "check": 3, "backtrack": 1}, description="behaviour -> features clamped, at most"
    )
    wider: int = Field(12, gt=0, description="features ablated together, at most: removal must leave no copy behind")
    rankings: tuple[Where, ...] = Field(
        (Where(), Where(source="thinking", among="boundaries")),
        min_length=1,
        description="searches of stage `locate`, by AUROC, that rank the features",
    )
    enough: float = Field(
        0.3,
        ge=0,
        description="effect below which a behaviour's group may come from the last layer, where a feature is hardly "
        "more than a logit",
    )
    doses: tuple[float, ...] = Field((1.0, 2.0, 4.0), min_length=1, description="multiples of the mean activation")
    rollouts: int = Field(200, gt=0, description="fitting rollouts on which clamping is tried")

    def run(self, context: StageContext) -> None:
        table, notes = read_table(context), []
        coders = self._coders(context)
        traces = parse(read_rollouts(context, "base"))
        candidates = []
        for behaviour in self.sizes:
            moments = at_opportunities(traces, behaviour, limit=self.rollouts)
            trial = _Trial(context, moments, self.doses)
            for named, ranking in product(coders, self.rankings):
                try:
                    candidates.append(trial.tried(self._group(table, behaviour, named, ranking), named.coder))
                except DataError as error:
                    what = f"{behaviour} in {named.name}, ranked among {ranking.among} of {ranking.source} text"
                    notes.append(f"group of {what}: {error.happened}")
        last = f"resid_post.{context.pair.base.n_layers - 1}"
        best = [self._best(some, last, notes) for some in _by_behaviour(candidates, tuple(self.sizes))]
        written = {"best": [asdict(g) for g in best], "candidates": [asdict(g) for g in candidates]}
        write_text(context.out / "groups.json", json.dumps(written))
        context.write_notes(notes)
        context.write_features(_marked(table.frame, best))

    def _coders(self, context: StageContext) -> list[_Named]:
        host, found = context.pair.base, read_coders(context)
        sites = list(dict.fromkeys(coder.site for coder in found.values()))
        acts = capture(host, read_rollouts(context, "base")[:STATS_ROLLOUTS], sites, progress=False)
        return [_Named(name, c, feature_stats(c, acts.at(c.site)).mean_active) for name, c in found.items()]

    def _best(self, groups: Sequence[Group], last: str, notes: list[str]) -> Group:
        earlier = max((g for g in groups if g.site != last), key=lambda g: g.effect, default=None)
        if earlier is not None and earlier.effect >= self.enough:
            return earlier
        best = max(groups, key=lambda g: g.effect)
        if best.site == last:
            moved = (
                "none passes the search"
                if earlier is None
                else f"the best adds {earlier.effect:+.2f} at {earlier.site}"
            )
            notes.append(
                f"group of {best.behaviour}: no group before the last layer moves it by {self.enough:.2f} "
                f"(best: {moved}); the last layer's is used ({best.effect:+.2f}), where a feature is hardly more than "
                "a logit"
            )
        return best

    def _group(self, table: FeatureTable, behaviour: str, named: _Named, ranking: Where) -> Group:
        name, coder, means = named
        frame = table.frame
        rows = frame.loc[
            (frame.behaviour == behaviour)
            & (frame.among == ranking.among)
            & (frame.score == "auroc")
            & (frame.source == ranking.source)
            & (frame.coder == name)
        ]
        if rows.empty:
            raise DataError("no such search succeeded")
        passing = int(((rows.kind == "feature") & (rows.sign > 0) & (rows.p_adjusted <= ALPHA)).sum())
        wider = select(FeatureTable(rows), max(1, min(self.wider, passing)), coder=coder, alpha=ALPHA).indices
        clamped = wider[: self.sizes[behaviour]]
        mean_active = tuple(float(means[i]) for i in clamped)
        return Group(behaviour, name, str(coder.site), ranking.source, ranking.among, clamped, mean_active, wider)


@dataclass(frozen=True, eq=False)
class _Trial:
    """Clamping tried on fitting problems."""

    context: StageContext
    moments: Moments
    doses: Sequence[float]

    def tried(self, group: Group, coder: SparseCoder) -> Group:
        """The group with the dose that raises the behaviour most."""
        axis = Features(coder, group.indices)
        effects = {dose: self._mean([clamp(axis, group.amounts(dose), where=labelled(HERE))]) for dose in self.doses}
        dose = max(effects, key=lambda d: effects[d])
        return replace(group, dose=dose, effect=effects[dose] - self.clean)

    @cached_property
    def clean(self) -> float:
        return self._mean(())

    def _mean(self, plan: Sequence[Intervention]) -> float:
        host = self.context.pair.base
        onset = onset_id(host, self.context.problems.task, self.moments.behaviour)
        return respond(host, self.moments, plan, onset=onset, receipt="none").interval.estimate


def _by_behaviour(groups: Sequence[Group], wanted: Sequence[str]) -> list[list[Group]]:
    found = [[group for group in groups if group.behaviour == behaviour] for behaviour in wanted]
    if not any(found):
        raise DataError(f"no feature goes with any of {', '.join(wanted)}", do="train larger coders on more text")
    return [some for some in found if some]


def _marked(frame: pd.DataFrame, best: Sequence[Group]) -> pd.DataFrame:
    """The located table with the chosen features flagged."""
    chosen = {(g.behaviour, g.coder, index) for g in best for index in g.indices}
    keys = zip(frame.behaviour, frame.coder, frame.feature, strict=True)
    return frame.assign(selected=[key in chosen for key in keys])
