"""Stage `ladder`: what may be claimed of the features that a run writes, by attempts to refute each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, final

import pandas as pd
from pydantic import Field
from tqdm.auto import tqdm

from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.groups import read_absent, read_groups
from reasonmech.experiments.stages.ladder_search import LadderBench, LadderSettings
from reasonmech.experiments.stages.locate import SearchScope
from reasonmech.experiments.tables import BASELINES_FILE, FALSIFIED_FILE, LADDER_FILE
from reasonmech.frames import rows_where
from reasonmech.locate.falsify import Attempt
from reasonmech.organisms.ground_truth.text_attempts import attempts_by_texts, is_written_about

COLUMNS: Final = {
    "behaviour": "whose group it is in",
    "verb": "clamp or ablate: what the run does to it",
    "coder": "name in the run",
    "source": "whose text the base read",
    "among": "among which of its positions",
    "feature": "index in the coder",
    "claim": "C0 the coder fits, C1 it detects, C2 beyond its cue",
    "verdict": "SUPPORTED, REFUTED, INCONCLUSIVE or NOT TESTED",
    "reason": "its numbers",
}


class LadderScope(SearchScope):
    """On which text, among which positions, and for which behaviours features are to detect."""

    behaviours: tuple[str, ...] = Field(default=(), description="behaviours; empty: all that have a group")


@final
@dataclass(frozen=True)
class WrittenGroup:
    """All that a run writes for one behaviour with one coder: verb -> features."""

    behaviour: str
    coder: str
    features: dict[str, tuple[int, ...]]

    @property
    def all_features(self) -> tuple[int, ...]:
        return tuple(sorted({index for indices in self.features.values() for index in indices}))


@stages.register("ladder")  # the kind is what configurations on disk say
class ClimbLadder(Stage):
    """C0, C1 and C2 for every feature that is clamped or ablated, on evaluation problems, which chose none.

    Attempts: rows that read one token; baselines of the text (token, position, words, kind of the sentence
    before); the best of as many features of a model that never learnt anything; and texts that the task's
    grammar writes, where it does (`text_attempts`): the cue with and without its context, and what resembles
    it. They are put to what is clamped, and to whatever else detects.
    """

    needs = ("rollouts", "coders", "groups", "kept")

    kind: Literal["ladder"] = "ladder"
    verbs: tuple[Literal["clamp", "ablate"], ...] = Field(("clamp", "ablate"), min_length=1)
    where: tuple[LadderScope, ...] = Field(
        (LadderScope(), LadderScope(source="thinking", among="boundaries")),
        min_length=1,
        description="on which text, and among which of its positions, features are to detect",
    )
    rollouts: int = Field(400, gt=0, description="evaluation rollouts of each model, evenly drawn")
    rows: int = Field(1500, gt=0, description="most rows of a search among boundaries; drawn beyond that")
    draws: int = Field(300, gt=0, description="bootstrap draws per interval")

    def run(self, context: StageContext) -> None:
        ledger = Ledger()
        bench = LadderBench(context, LadderSettings(self.rollouts, self.rows, self.draws))
        verdicts: list[pd.DataFrame] = []
        baselines: list[pd.DataFrame] = []
        findings: list[pd.DataFrame] = []
        groups = self._groups(context)
        steps = [(scope, group) for scope in self.where for group in groups if _is_in(scope, group.behaviour)]
        by_texts = {name: self._by_texts(context, name, ledger) for name in {g.behaviour for _, g in steps}}
        for scope, group in tqdm(steps, desc="ladder", disable=not context.progress):
            with ledger.attempt("ladder", item_name(group.behaviour, group.coder, scope)):
                search = bench.search(scope, group.behaviour, group.coder, group.all_features)
                marks: dict[str, Any] = {"behaviour": group.behaviour, "coder": group.coder}
                marks |= {"source": scope.source, "among": scope.among}
                attacked = {*group.features.get("clamp", ()), *search.detecting()}
                falsification = search.falsify(sorted(attacked), by_texts[group.behaviour])
                findings.append(falsification.frame.assign(**marks))
                climbed = search.climb(falsification).assign(**marks)
                verdicts += [
                    rows_where(climbed, climbed["feature"].isin(indices)).assign(verb=verb)
                    for verb, indices in group.features.items()
                ]
                baselines.append(search.baselines.assign(**marks))
        for behaviour, cause in read_absent(context).items():
            for scope in self.where:
                if _is_in(scope, behaviour):
                    ledger.miss("ladder", item_name(behaviour, "any coder", scope), cause=cause)
        if verdicts:
            table = pd.DataFrame(pd.concat(verdicts, ignore_index=True), columns=list(COLUMNS))
            context.write_table(table, LADDER_FILE)
            context.write_table(pd.concat(baselines, ignore_index=True), BASELINES_FILE)
            context.write_table(pd.concat(findings, ignore_index=True), FALSIFIED_FILE)
        context.write_ledger(ledger)

    def _by_texts(self, context: StageContext, behaviour: str, ledger: Ledger) -> tuple[Attempt, ...]:
        """Attempts by written texts; the ledger says why there are none where a grammar writes some."""
        attempts: tuple[Attempt, ...] = ()
        host, task = context.pair.base, context.problems.task
        if is_written_about(behaviour, task):
            with ledger.attempt("written texts", f"texts of {task} that part {behaviour} from its words"):
                attempts = attempts_by_texts(host, behaviour, task, seed=context.seed)
        return attempts

    def _groups(self, context: StageContext) -> list[WrittenGroup]:
        groups: dict[tuple[str, str], dict[str, tuple[int, ...]]] = {}
        for choice in read_groups(context):
            for verb in self.verbs:
                group = choice.clamp if verb == "clamp" else choice.ablate
                indices = group.indices if verb == "clamp" else group.wider
                groups.setdefault((group.behaviour, group.coder), {})[verb] = indices
        return [WrittenGroup(behaviour, coder, verbs) for (behaviour, coder), verbs in groups.items()]


def _is_in(scope: LadderScope, behaviour: str) -> bool:
    return not scope.behaviours or behaviour in scope.behaviours


def item_name(behaviour: str, coder: str, scope: SearchScope) -> str:
    """A ladder as the stage's ledger names it."""
    return f"ladder of the features of {coder} for {behaviour} among {scope.among} of {scope.source} text"
