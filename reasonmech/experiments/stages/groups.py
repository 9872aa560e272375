"""Stage `groups`: for each behaviour the features to write, and where: chosen on fitting problems only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.locate import read_table
from reasonmech.experiments.stages.moments import HERE, Moments, at_opportunities, onset_id, respond
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.experiments.store import write_text
from reasonmech.experiments.tables import read_json
from reasonmech.interventions import Features, Intervention, clamp, labelled
from reasonmech.locate import FeatureTable, select
from reasonmech.tasks import parse


@dataclass(frozen=True)
class Group:
    """Features of one coder that go with a behaviour.

    Attributes:
        mean_active: mean activation of each where it fires at opportunities, in activation units: dose 1.
        dose: the dose with the strongest effect on the fitting problems.
        effect: mean P(onset) at that dose minus untouched, on the fitting problems.
    """

    behaviour: str
    coder: str
    site: str
    indices: tuple[int, ...]
    mean_active: tuple[float, ...]
    dose: float
    effect: float

    def features(self, coders: dict[str, SparseCoder], *, transfer: bool = False) -> Features:
        return Features(coders[self.coder], self.indices, transfer=transfer)

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


@stages.register("groups")
class ChooseGroups(Stage):
    """Per behaviour and coder the features that best anticipate it; then the coder where clamping them does most.

    Where a behaviour is told and where it is decided may differ, so every site is tried. Evaluation problems play no
    part.
    """

    needs = ("rollouts", "coders", "locate")

    kind: Literal["groups"] = "groups"
    sizes: dict[str, int] = Field({"step": 3, "check": 3, "backtrack": 1}, description="features per behaviour")
    source: Literal["base", "thinking"] = Field("base", description="text on which they must anticipate")
    score: str = Field("auroc", description="score that ranks them")
    doses: tuple[float, ...] = Field((1.0, 2.0, 4.0), min_length=1, description="multiples of the mean activation")
    rollouts: int = Field(200, gt=0, description="fitting rollouts on which clamping is tried")

    def run(self, context: StageContext) -> None:
        coders, table = read_coders(context), read_table(context)
        traces = parse(read_rollouts(context, "base"))
        candidates, notes = [], []
        for behaviour in self.sizes:
            moments = at_opportunities(traces, behaviour, limit=self.rollouts)
            for name, coder in coders.items():
                try:
                    candidates.append(self._group(context, table, behaviour, name, coder, moments))
                except DataError as error:
                    notes.append(f"group of {behaviour} in {name}: {error.happened}")
        best = [max(some, key=lambda g: g.effect) for some in _by_behaviour(candidates, tuple(self.sizes))]
        written = {"best": [asdict(g) for g in best], "candidates": [asdict(g) for g in candidates]}
        write_text(context.out / "groups.json", json.dumps(written))
        context.write_notes(notes)
        context.write_features(_marked(table.frame, best))

    def _group(
        self,
        context: StageContext,
        table: FeatureTable,
        behaviour: str,
        name: str,
        coder: SparseCoder,
        moments: Moments,
    ) -> Group:
        frame = table.frame
        rows = frame.loc[
            (frame.behaviour == behaviour)
            & (frame["mode"] == "anticipates")
            & (frame.score == self.score)
            & (frame.source == self.source)
            & (frame.coder == name)
        ]
        if rows.empty:
            raise DataError("no search of this behaviour succeeded")
        chosen = select(FeatureTable(rows), self.sizes[behaviour], coder=coder)
        active = rows.loc[rows.kind == "feature"].set_index("feature").mean_active
        group = Group(
            behaviour,
            name,
            str(coder.site),
            chosen.indices,
            tuple(float(active.loc[i]) for i in chosen.indices),
            0.0,
            0.0,
        )
        return self._tried(context, group, chosen, moments)

    def _tried(self, context: StageContext, group: Group, chosen: Features, moments: Moments) -> Group:
        """The group with the dose that raises the behaviour most."""
        host = context.pair.base
        onset = onset_id(host, context.problems.task, group.behaviour)

        def mean(plan: Sequence[Intervention]) -> float:
            return respond(host, moments, plan, onset=onset).interval.estimate

        clean = mean(())
        effects = {
            dose: mean([clamp(chosen, group.amounts(dose), where=labelled(HERE))]) - clean for dose in self.doses
        }
        dose = max(effects, key=lambda d: effects[d])
        return replace(group, dose=dose, effect=effects[dose])


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
