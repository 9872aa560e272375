"""Stage `kept`: would the behaviour still begin if the base read the chosen coder's reconstruction?"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import Any, Literal

import pandas as pd
from pydantic import Field
from tqdm.auto import tqdm

from reasonmech.behaviours import label
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import RUN_FILES, Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.groups import read_absent, read_groups
from reasonmech.experiments.stages.moments import onset_ids
from reasonmech.experiments.stages.rollouts import Source, read_by_base
from reasonmech.experiments.tables import PRESERVATION_FILE, read_table
from reasonmech.locate import BehaviourPreservation, behaviour_preservation
from reasonmech.stats import Interval
from reasonmech.tasks import parse


@stages.register("kept")  # the kind is what configurations on disk say
class MeasurePreservation(Stage):
    """Hazard of each behaviour in the base, untouched and reading what its group's coder reconstructs."""

    needs = ("rollouts", "coders", "groups")

    kind: Literal["kept"] = "kept"
    source: Source = Field("thinking", description="whose rollouts the base reads")
    rollouts: int = Field(100, gt=0, description="of them, the first so many")
    draws: int = Field(2000, gt=0, description="bootstrap draws per interval")

    def run(self, context: StageContext) -> None:
        host, coders, task = context.pair.base, read_coders(context), context.problems.task
        text = read_by_base(context, self.source)[: self.rollouts]
        traces, rows, ledger = parse(text), [], Ledger()
        for choice in tqdm(read_groups(context), desc="kept", disable=not context.progress):
            group = choice.clamp
            with ledger.attempt("hazard", _item(group.behaviour)):
                labels = label(traces, group.behaviour)
                onset = onset_ids(host, task, group.behaviour)
                preservation = behaviour_preservation(
                    host, coders[group.coder], rollouts=text, labels=labels, onset_ids=onset, draws=self.draws
                )
                rows.append(_row(preservation) | {"coder": group.coder})
        for behaviour, cause in read_absent(context).items():
            ledger.miss("hazard", _item(behaviour), cause=cause)
        if rows:
            context.write_table(pd.DataFrame(rows), PRESERVATION_FILE)
        context.write_ledger(ledger)


def _item(behaviour: str) -> str:
    return f"hazard of {behaviour} under reconstruction"


def _row(preservation: BehaviourPreservation) -> dict[str, Any]:
    """Plain values; an interval is three columns: ratio, ratio.low, ratio.high."""
    row: dict[str, Any] = {"outcome": preservation.outcome}
    for name, value in vars(preservation).items():
        if isinstance(value, Interval):
            row |= {name: value.estimate, f"{name}.low": value.low, f"{name}.high": value.high}
        else:
            row[name] = value
    return row


def read_preservation(context: StageContext) -> dict[tuple[str, str], BehaviourPreservation]:
    """What the stage measured, by coder and behaviour; empty where it measured nothing."""
    path = context.of("kept") / RUN_FILES / PRESERVATION_FILE
    if not path.exists():
        return {}
    names = [field.name for field in fields(BehaviourPreservation)]
    return {
        (str(row["coder"]), str(row["behaviour"])): BehaviourPreservation(
            **{name: _value(row, name) for name in names}
        )
        for row in read_table(path).to_dict("records")
    }


def _value(row: Mapping[Hashable, Any], name: str) -> Any:
    """A field as it was: an interval where three columns are there."""
    if f"{name}.low" not in row:
        return row[name]
    return Interval(row[name], row[f"{name}.low"], row[f"{name}.high"])
