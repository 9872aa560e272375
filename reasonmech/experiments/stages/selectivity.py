"""Stage `selectivity`: does a group move its own behaviour, or others too, or does it just write a word?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

import pandas as pd
from pydantic import Field
from tqdm.auto import tqdm

from reasonmech.coders import SparseCoder
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.groups import Group, read_absent, read_groups
from reasonmech.experiments.stages.moments import at_opportunities, elsewhere
from reasonmech.experiments.stages.onset_arms import (
    LOCATED,
    OnsetArm,
    OnsetBed,
    Verb,
    active_arms,
    clamped_arms,
)
from reasonmech.experiments.stages.selectivity_rows import SelectivityRows
from reasonmech.experiments.stages.study_texts import StudyTexts
from reasonmech.experiments.tables import MATCHED_ONSETS_FILE, SELECTIVITY_FILE

Side = Literal["thinking", "base"]


@stages.register("selectivity")  # the kind is what configurations on disk say
class MeasureSelectivity(Stage):
    """Each group, at the dose that fitting problems chose, on the onset of every kind of sentence, where its
    behaviour could begin and elsewhere; beside features as active there, and the unembedding row of its word.

    A clamp's controls change next-token distributions as much as it does (KL).
    """

    needs = ("rollouts", "coders", "groups")

    kind: Literal["selectivity"] = "selectivity"
    rollouts: int = Field(40, gt=0, description="evaluation rollouts per behaviour and place")
    ablate_in: tuple[Side, ...] = Field(
        ("thinking", "base"), description="models in which the groups that are ablated are"
    )
    controls: int = Field(2, ge=0, description="groups of features as active at the opportunities")
    ablation_controls: int | None = Field(
        None, ge=0, description="as many for ablations, whose groups are wider; null: `controls`"
    )

    def run(self, context: StageContext) -> None:
        coders, texts, ledger = read_coders(context), StudyTexts(context), Ledger()
        summary: list[dict[str, Any]] = []
        onsets: list[dict[str, Any]] = []
        for subject in tqdm(self._subjects(context), desc="selectivity", disable=not context.progress):
            with ledger.attempt("selectivity", subject.item):
                rows = self._measure(context, texts, subject, coders, ledger)
                summary += rows.summary()
                onsets += rows.onsets()
        for behaviour, cause in read_absent(context).items():
            for verb, side in self._where:
                ledger.miss("selectivity", item_name(verb, behaviour, side), cause=cause)
        if summary:
            context.write_table(pd.DataFrame(summary), SELECTIVITY_FILE)
            context.write_table(pd.DataFrame(onsets), MATCHED_ONSETS_FILE)
        context.write_ledger(ledger)

    def _n_controls(self, verb: Verb) -> int:
        return self.controls if verb == "clamp" or self.ablation_controls is None else self.ablation_controls

    @property
    def _where(self) -> list[tuple[Verb, Side]]:
        """What is done in which model."""
        return [("clamp", "base"), *(("ablate", side) for side in self.ablate_in)]

    def _subjects(self, context: StageContext) -> list[_Intervened]:
        return [
            _Intervened(verb, side, choice.clamp if verb == "clamp" else choice.ablate)
            for choice in read_groups(context)
            for verb, side in self._where
        ]

    def _measure(
        self,
        context: StageContext,
        texts: StudyTexts,
        subject: _Intervened,
        coders: Mapping[str, SparseCoder],
        ledger: Ledger,
    ) -> SelectivityRows:
        group, verb = subject.group, subject.verb
        traces, behaviour = texts.traces(subject.side), group.behaviour
        bed = OnsetBed(
            context.pair.base if subject.side == "base" else context.pair.thinking,
            context.problems.task,
            at_opportunities(traces, behaviour, limit=self.rollouts),
            elsewhere(traces, behaviour, limit=self.rollouts),
            coders[group.coder],
            transfer=subject.side == "thinking",
        )
        arms: list[OnsetArm] = []
        if verb == "clamp":
            arms += clamped_arms(bed, group.indices, group.amounts(1.0), group.dose)
        else:
            arms.append(bed.ablate_arm(LOCATED, group.wider))
        if n := self._n_controls(verb):
            with ledger.attempt("controls", f"active controls of {subject.item}"):
                indices = group.indices if verb == "clamp" else group.wider
                arms += active_arms(bed, verb, indices, arms[0], n=n, seed=context.seed)
        tags = {
            "behaviour": behaviour,
            "host": subject.side,
            "verb": verb,
            "coder": group.coder,
            "site": group.site,
        }
        return SelectivityRows(tags, bed, verb, bed.read(()), [(arm, bed.read(arm.plan)) for arm in arms])


@final
@dataclass(frozen=True)
class _Intervened:
    """A group, and what is done to it in which model."""

    verb: Verb
    side: Side
    group: Group

    @property
    def item(self) -> str:
        return item_name(self.verb, self.group.behaviour, self.side)


def item_name(verb: str, behaviour: str, side: str) -> str:
    """An intervention as the stage's ledger names it."""
    return f"every onset under {verb} {behaviour} in {side}"
