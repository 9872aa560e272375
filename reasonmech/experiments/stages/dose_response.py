"""Stage `study`: what writing and removing the located features does, beside matched random ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Final, Literal, NamedTuple

import pandas as pd
import torch
from pydantic import Field
from tqdm.auto import tqdm

from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError, NoChangeError
from reasonmech.experiments.ledger import Cause, Ledger
from reasonmech.experiments.stages.base import Notes, Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.controls import TOLERANCES, draw_controls
from reasonmech.experiments.stages.groups import GroupChoice, read_absent, read_groups
from reasonmech.experiments.stages.moments import (
    MOMENT,
    Onsets,
    Response,
    at_opportunities,
    elsewhere,
    onset_ids,
    respond,
)
from reasonmech.experiments.stages.onset_table import EveryOnset
from reasonmech.experiments.stages.study_texts import StudyTexts
from reasonmech.experiments.stages.study_trials import (
    FeatureArm,
    Testbed,
    Trial,
    Verb,
    located_trial,
    trial_name,
    trial_rows,
    untouched_trial,
)
from reasonmech.experiments.tables import ONSETS_FILE
from reasonmech.interventions import (
    Features,
    Intervention,
    ablate,
    clamp,
    everywhere,
    labelled,
)
from reasonmech.runtime.receipt.replay import CleanLogits

AT_OPPORTUNITIES: Final = "at opportunities"
PLACES: Final = {AT_OPPORTUNITIES: at_opportunities, "elsewhere": elsewhere}


@stages.register("study")  # the kind is what configurations on disk say
class StudyFeatures(Stage):
    """Clamp each group in the base, at opportunities and elsewhere, and ablate it in both models.

    Teacher-forced: each text is read as it was written, and the probability that the next token begins the
    behaviour is read off. Every located arm stands beside `controls` random ones.
    """

    needs = ("rollouts", "coders", "groups")

    kind: Literal["study"] = "study"
    doses: tuple[float, ...] = Field(
        (1.0, 2.0, 4.0, 8.0), min_length=1, description="multiples of mean activations"
    )
    controls: int = Field(3, gt=0, description="matched random groups per behaviour")
    tolerances: tuple[tuple[float, float], ...] = Field(
        TOLERANCES,
        min_length=1,
        description="matching of rate and of decoder norm x mean activation; the first that has matches is "
        "used",
    )
    rollouts: int = Field(300, gt=0, description="evaluation rollouts per behaviour and place")

    def run(self, context: StageContext) -> None:
        coders, notes, ledger = read_coders(context), Notes(), Ledger()
        texts, groups = (
            StudyTexts(context),
            {choice.clamp.behaviour: choice for choice in read_groups(context)},
        )
        trials: list[Trial] = []
        for behaviour, choice in {**read_absent(context), **groups}.items():
            subject = _Subject(behaviour, choice, coders)
            for place in PLACES:
                trials += self._trials(texts, subject, ("clamp", "base", place), ledger, notes)
            for side in ("thinking", "base"):
                trials += self._trials(texts, subject, ("ablate", side, AT_OPPORTUNITIES), ledger, notes)
        conditions, tables, receipts, onsets = [], [], {}, EveryOnset(context)
        clean: dict[Testbed, CleanLogits] = {}  # the trials of one testbed have one text, and one clean pass
        for trial in tqdm(trials, desc="study", disable=not context.progress):
            with ledger.attempt("condition", trial.condition.name):
                kept = clean.setdefault(trial.testbed, CleanLogits())
                response = _respond(context, trial, onsets.of(trial.testbed), notes, kept)
                conditions.append(trial.condition)
                tables += trial_rows(trial, response)
                onsets.add(trial, response)
                if trial.plan:
                    receipts[trial.condition.name] = [line | {"kl": response.kl} for line in response.lines]
        context.write_conditions(conditions)
        context.write_results(tables)
        context.write_receipts(receipts)
        if onsets.rows:
            context.write_table(pd.DataFrame(onsets.rows), ONSETS_FILE)
        context.write_notes(notes.lines)
        context.write_ledger(ledger)

    def _trials(
        self,
        texts: StudyTexts,
        subject: _Subject,
        where: tuple[Verb, str, str],
        ledger: Ledger,
        notes: Notes,
    ) -> list[Trial]:
        """What is done to one model at one kind of place: untouched, the located features, the random ones.

        Features that never fire on that text have no match, and are left out with a note; a group without
        matches is missing, for an effect is printed beside its control only.
        """
        (verb, side, place), behaviour = where, subject.behaviour
        doses = self.doses if verb == "clamp" else (None,)
        names = ["located", *(f"random {i}" for i in range(self.controls))]
        items = [trial_name(verb, behaviour, name, dose, side, place) for name, dose in product(names, doses)]
        trials: list[Trial] = []
        # the base untouched at opportunities stands beside its clamps, and is not measured again
        first = [] if (verb, side) == ("ablate", "base") else [f"{side} {behaviour} {place}"]
        with ledger.attempt("condition", *first, *items):
            moments = PLACES[place](texts.traces(side), behaviour, limit=self.rollouts)
            pair = texts.context.pair
            testbed = Testbed(side, pair.base if side == "base" else pair.thinking, moments)
            trials += [untouched_trial(testbed)] if first else []
            with ledger.attempt("condition", *items):
                for arm, dose in product(self._arms(texts, side, subject.group(verb), notes), doses):
                    trials.append(located_trial(verb, arm, testbed, _plan(arm, side, dose), dose=dose))
        return trials

    def _arms(self, texts: StudyTexts, side: str, group: StudiedGroup, notes: Notes) -> list[FeatureArm]:
        """The located features first, then `controls` random sets matched to them one by one on this side's
        text. Raises DataError: none of them fires there, or nothing matches."""
        name, coder, indices = group
        stats = texts.stats(side, coder)
        firing = tuple(i for i in indices if stats.rate[i] > 0)
        if not firing:
            raise DataError(
                f"features {list(indices)} of {name} never fire in the {side} model's text",
                do="study more rollouts, or features that do",
            )
        if silent := [i for i in indices if i not in firing]:
            notes.add_remark(
                f"features {silent} of {name} never fire in the {side} model's text: left out there"
            )
        controls = draw_controls(
            stats, firing, n=self.controls, seed=texts.context.seed, tolerances=self.tolerances
        )
        sets = {"located": firing} | {f"random {i}": matched for i, matched in enumerate(controls.sets)}
        return [
            FeatureArm(
                name,
                Features(coder, members),
                tuple(stats.mean_active[list(members)].tolist()),
                controls.tolerance,
                controls.description,
            )
            for name, members in sets.items()
        ]


class StudiedGroup(NamedTuple):
    """Features of a coder, with the name that the run gave it."""

    name: str
    coder: SparseCoder
    indices: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Subject:
    """A behaviour with its groups, or with the reason why it has none."""

    behaviour: str
    choice: GroupChoice | Cause
    coders: Mapping[str, SparseCoder]

    def group(self, verb: Verb) -> StudiedGroup:
        """The features that are clamped, or ablated. Raises DataError where there are none."""
        if isinstance(self.choice, Cause):
            raise self.choice.as_error()
        group = self.choice.clamp if verb == "clamp" else self.choice.ablate
        indices = group.indices if verb == "clamp" else group.wider
        return StudiedGroup(group.coder, self.coders[group.coder], indices)


def _plan(arm: FeatureArm, side: str, dose: float | None) -> list[Intervention]:
    """A clamp at a dose where the behaviour could begin, or, without one, an ablation everywhere."""
    if dose is None:
        return [ablate(replace(arm.features, transfer=side == "thinking"), where=everywhere())]
    return [clamp(arm.features, dose * torch.tensor(arm.mean_active), where=labelled(MOMENT))]


def _respond(
    context: StageContext, trial: Trial, every: Onsets, notes: Notes, clean: CleanLogits
) -> Response:
    """What a trial does; one that changes nothing has an effect of 0, and a note says why."""
    host, moments = trial.testbed.host, trial.testbed.moments
    onsets = onset_ids(host, context.problems.task, moments.behaviour)
    try:
        return respond(host, moments, trial.plan, onsets=onsets, every_onset=every, clean=clean)
    except NoChangeError as silent:  # such as a rare feature
        assert isinstance(silent.result, Response)
        notes.add_remark(f"{trial.condition.name} changes nothing, so its effect is 0: {silent.happened}")
        return silent.result
