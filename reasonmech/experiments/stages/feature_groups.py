"""Stage `groups`: for each behaviour the features to write, and where: chosen on fitting problems only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Literal, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError
from reasonmech.experiments.stages.base import Notes, Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.controls import written_stats
from reasonmech.experiments.stages.fitting_trials import FittingTrials
from reasonmech.experiments.stages.locate import SearchScope, read_table
from reasonmech.experiments.stages.moments import at_opportunities
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.experiments.tables import read_json
from reasonmech.files import write_text
from reasonmech.locate import FeatureStats, FeatureTable, select
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
        mean_active: of each where it fires on the base's own text, in activation units: dose 1.
        wider: features that are ablated, `indices` among them.
        dose: the dose with the strongest effect on the fitting problems.
        effect: mean P(onset) in the base at that dose minus untouched, on the fitting problems.
        control: the same for random features matched to `indices`, at the same dose.
        removal: mean P(onset) in the thinking model, untouched minus with `wider` ablated, on the fitting
            problems.
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
    control: float = 0.0
    removal: float = 0.0

    @property
    def gain(self) -> float:
        """Effect over control."""
        return self.effect - self.control

    def amounts(self, dose: float) -> Float[Tensor, " coord"]:
        """What each feature is clamped to at a dose, in activation units."""
        return dose * torch.tensor(self.mean_active)


class GroupChoice(NamedTuple):
    """The groups of one behaviour: where writing features does most, and where removing them does."""

    clamp: Group
    ablate: Group


def read_groups(context: StageContext) -> list[GroupChoice]:
    """The chosen groups of each behaviour."""
    return [GroupChoice(*_parse(pair)) for pair in read_json(context.of("groups") / "groups.json")["chosen"]]


def read_candidates(context: StageContext) -> list[Group]:
    """The group of each behaviour in every coder."""
    return _parse(read_json(context.of("groups") / "groups.json")["candidates"])


def _parse(rows: list[dict[str, object]]) -> list[Group]:
    pairs = ({k: tuple(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
    return [Group(**row) for row in pairs]  # pyright: ignore[reportArgumentType]


class _CoderWithStats(NamedTuple):
    """A coder with its name, and how often and how strongly its features fire where the base writes."""

    name: str
    coder: SparseCoder
    stats: FeatureStats


@stages.register("groups")  # the kind is what configurations on disk say
class ChooseGroups(Stage):
    """Per behaviour and coder the features that best anticipate it; then the coder where they do most.

    Where a behaviour is told, where it is set off and where it can be stopped may differ, so every site is
    tried, for clamping in the base (over matched random features) and for ablation in the thinking model; the
    last layer counts only for a behaviour that no earlier one moves by `enough`, and a note says so.
    Evaluation problems play no part.
    """

    needs = ("rollouts", "coders", "locate")

    kind: Literal["groups"] = "groups"
    sizes: dict[str, int] = Field(
        {"step": 3, "check": 3, "backtrack": 1}, description="behaviour -> features clamped, at most"
    )
    wider: int = Field(
        12, gt=0, description="features ablated together, at most: removal must leave no copy behind"
    )
    rankings: tuple[SearchScope, ...] = Field(
        (SearchScope(), SearchScope(source="thinking", among="boundaries")),
        min_length=1,
        description="searches of stage `locate`, by AUROC, that rank the features",
    )
    enough: float = Field(
        0.3,
        ge=0,
        description="effect over control below which a behaviour's group may come from the last layer, "
        "where a feature is hardly more than a logit",
    )
    doses: tuple[float, ...] = Field(
        (2.0, 4.0, 8.0), min_length=1, description="multiples of the mean activation"
    )
    rollouts: int = Field(200, gt=0, description="fitting rollouts on which clamping is tried")

    def run(self, context: StageContext) -> None:
        table, notes = read_table(context), Notes()
        dictionaries = self._dictionaries(context)
        traces = [parse(read_rollouts(context, source)) for source in ("base", "thinking")]
        candidates = []
        for behaviour in self.sizes:
            try:
                base, thinking = (at_opportunities(t, behaviour, limit=self.rollouts) for t in traces)
            except DataError as error:
                notes.add_failure(f"group of {behaviour}", error)
                continue
            trials = FittingTrials(context, base, thinking, self.doses)
            for dictionary, ranking in product(dictionaries, self.rankings):
                try:
                    group = self._group(table, behaviour, dictionary, ranking)
                    candidates.append(_with_effects(group, trials, dictionary))
                except DataError as error:
                    notes.add_failure(
                        f"group of {behaviour} in {dictionary.name}, "
                        f"ranked among {ranking.among} of {ranking.source} text",
                        error,
                    )
        last = f"resid_post.{context.pair.base.n_layers - 1}"
        choices = [
            GroupChoice(
                clamp=self._best("clamp", groups, last, notes),
                ablate=self._best("ablate", groups, last, notes),
            )
            for groups in _by_behaviour(candidates, tuple(self.sizes))
        ]
        chosen = [[asdict(group) for group in choice] for choice in choices]
        tables = {"chosen": chosen, "candidates": [asdict(group) for group in candidates]}
        write_text(context.out / "groups.json", json.dumps(tables))
        context.write_notes(notes.lines)
        context.write_features(_mark_selected(table.frame, [choice.clamp for choice in choices]))

    def _dictionaries(self, context: StageContext) -> list[_CoderWithStats]:
        host, coders = context.pair.base, read_coders(context)
        sites = list(dict.fromkeys(coder.site for coder in coders.values()))
        acts = capture(host, read_rollouts(context, "base")[:STATS_ROLLOUTS], sites, progress=False)
        return [_CoderWithStats(name, coder, written_stats(coder, acts)) for name, coder in coders.items()]

    def _best(
        self, verb: Literal["clamp", "ablate"], groups: Sequence[Group], last: str, notes: Notes
    ) -> Group:
        """The group that moves the behaviour most; of the last layer only if no other moves it `enough`."""

        def moved(group: Group) -> float:
            return group.gain if verb == "clamp" else group.removal

        earlier = max((group for group in groups if group.site != last), key=moved, default=None)
        if earlier is not None and moved(earlier) >= self.enough:
            return earlier
        best = max(groups, key=moved)
        if best.site == last:
            other = (
                "none passes the search" if earlier is None else f"{moved(earlier):+.2f} at {earlier.site}"
            )
            notes.add_remark(
                f"{verb} group of {best.behaviour}: no group before the last layer moves it by "
                f"{self.enough:.2f} (best: {other}); the last layer's is used ({moved(best):+.2f}), "
                "where a feature is hardly more than a logit"
            )
        return best

    def _group(
        self, table: FeatureTable, behaviour: str, dictionary: _CoderWithStats, ranking: SearchScope
    ) -> Group:
        name, coder, stats = dictionary
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
        mean_active = tuple(float(stats.mean_active[i]) for i in clamped)
        return Group(
            behaviour, name, str(coder.site), ranking.source, ranking.among, clamped, mean_active, wider
        )


def _with_effects(group: Group, trials: FittingTrials, dictionary: _CoderWithStats) -> Group:
    """The group with its best dose, its effect beside its control, and what its removal takes away."""
    clamped = trials.try_clamping(dictionary.coder, group.indices, dictionary.stats)
    return replace(
        group,
        dose=clamped.dose,
        effect=clamped.effect,
        control=clamped.control,
        removal=trials.try_ablating(dictionary.coder, group.wider),
    )


def _by_behaviour(groups: Sequence[Group], behaviours: Sequence[str]) -> list[list[Group]]:
    """The groups of each behaviour that has any."""
    by_behaviour = [[group for group in groups if group.behaviour == name] for name in behaviours]
    if not any(by_behaviour):
        raise DataError(
            f"no feature goes with any of {', '.join(behaviours)}", do="train larger coders on more text"
        )
    return [part for part in by_behaviour if part]


def _mark_selected(frame: pd.DataFrame, groups: Sequence[Group]) -> pd.DataFrame:
    """The located table with the chosen features flagged."""
    selected = {(group.behaviour, group.coder, index) for group in groups for index in group.indices}
    keys = zip(frame.behaviour, frame.coder, frame.feature, strict=True)
    return frame.assign(selected=[key in selected for key in keys])
