"""Stage `groups`: for each behaviour the features to write, and where: chosen on fitting problems only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

import pandas as pd
from pydantic import Field

from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import Notes, Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.controls import written_stats
from reasonmech.experiments.stages.fitting_trials import FittingTrials
from reasonmech.experiments.stages.group_search import CoderWithStats, GroupSearch
from reasonmech.experiments.stages.groups import Group, GroupChoice
from reasonmech.experiments.stages.locate import SearchScope, read_table
from reasonmech.experiments.stages.moments import at_opportunities
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.experiments.stages.written import written_features
from reasonmech.experiments.tables import WRITTEN_FILE
from reasonmech.files import write_text
from reasonmech.hosts import ModelPair
from reasonmech.runtime import capture
from reasonmech.tasks import parse
from reasonmech.tasks.questions import check_behaviour

STATS_ROLLOUTS = 400  # of the base, on which mean activations are measured


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
        le=1,
        description="share of the largest possible effect below which a behaviour's group may come from the "
        "last layer, where a feature is hardly more than a logit",
    )
    doses: tuple[float, ...] = Field(
        (2.0, 4.0, 8.0), min_length=1, description="multiples of the mean activation"
    )
    rollouts: int = Field(200, gt=0, description="fitting rollouts on which clamping is tried")
    tries: int = Field(
        8,
        ge=0,
        description="features of a coder that are clamped one by one, the best by AUROC: those that do most "
        "are tried as a group beside the best by AUROC",
    )
    tries_rollouts: int = Field(16, gt=0, description="fitting rollouts for these")

    def run(self, context: StageContext) -> None:
        table, notes, ledger = read_table(context), Notes(), Ledger()
        dictionaries = self._dictionaries(context)
        traces = [parse(read_rollouts(context, source)) for source in ("base", "thinking")]
        candidates: list[Group] = []
        for behaviour in self.sizes:
            with ledger.attempt("group", behaviour):
                base, thinking = (at_opportunities(t, behaviour, limit=self.rollouts) for t in traces)
                trials = FittingTrials(context, base, thinking, self.doses)
                search = GroupSearch(context, table, behaviour, self.sizes[behaviour], self)
                tried = [
                    group
                    for dictionary in dictionaries
                    for group in search.groups(dictionary, trials, ledger)
                ]
                if not tried:
                    raise search.first_cause(ledger).as_error()
                candidates += tried
        last = f"resid_post.{context.pair.base.n_layers - 1}"
        choices = [
            GroupChoice(
                clamp=self._best("clamp", groups, last, notes),
                ablate=self._best("ablate", groups, last, notes),
            )
            for name in self.sizes
            if (groups := [group for group in candidates if group.behaviour == name])
        ]
        chosen = [[asdict(group) for group in choice] for choice in choices]
        tables = {"chosen": chosen, "candidates": [asdict(group) for group in candidates]}
        write_text(context.out / "groups.json", json.dumps(tables))
        context.write_notes(notes.lines)
        context.write_ledger(ledger)
        context.write_features(_mark_selected(table.frame, [choice.clamp for choice in choices]))
        if choices:
            coders = {dictionary.name: dictionary for dictionary in dictionaries}
            context.write_table(written_features(choices, table.frame, coders), WRITTEN_FILE)

    def check_pair(self, pair: ModelPair, task: str) -> None:
        for behaviour in self.sizes:
            check_behaviour(task, behaviour)

    def _dictionaries(self, context: StageContext) -> list[CoderWithStats]:
        host, coders = context.pair.base, read_coders(context)
        sites = list(dict.fromkeys(coder.site for coder in coders.values()))
        acts = capture(host, read_rollouts(context, "base")[:STATS_ROLLOUTS], sites, progress=False)
        return [CoderWithStats(name, coder, written_stats(coder, acts)) for name, coder in coders.items()]

    def _best(
        self, verb: Literal["clamp", "ablate"], groups: Sequence[Group], last: str, notes: Notes
    ) -> Group:
        """The group that moves the behaviour most; of the last layer only if no other moves it `enough`."""

        def moved(group: Group) -> float:
            return group.gain if verb == "clamp" else group.removal

        def is_enough(group: Group) -> bool:
            return moved(group) >= self.enough * (group.room if verb == "clamp" else group.removable)

        earlier = max((group for group in groups if group.site != last), key=moved, default=None)
        if earlier is not None and is_enough(earlier):
            return earlier
        best = max(groups, key=moved)
        if best.site == last:
            other = (
                "none passes the search" if earlier is None else f"{moved(earlier):+.2f} at {earlier.site}"
            )
            notes.add_remark(
                f"{verb} group of {best.behaviour}: no group before the last layer moves it by "
                f"{self.enough:.0%} of what there is to move (best: {other}); the last layer's is used "
                f"({moved(best):+.2f}), where a feature is hardly more than a logit"
            )
        return best


def _mark_selected(frame: pd.DataFrame, groups: Sequence[Group]) -> pd.DataFrame:
    """The located table with the chosen features flagged."""
    selected = {(group.behaviour, group.coder, index) for group in groups for index in group.indices}
    keys = zip(frame.behaviour, frame.coder, frame.feature, strict=True)
    return frame.assign(selected=[key in selected for key in keys])
