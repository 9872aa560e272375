"""Stage `traces`: a few problems, answered by several arms, token by token with feature activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.arm_tables import missing_arms
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.groups import read_absent, read_groups
from reasonmech.experiments.tables import TRACES_FILE
from reasonmech.locate.feature_summary.tokens import token_frame
from reasonmech.rollout import Rollouts
from reasonmech.runtime import capture
from reasonmech.tasks import grade, parse


@stages.register("traces")
class ShowTraces(Stage):
    """Problems on which the arms differ most, with the located features' activations on every word."""

    needs = ("coders", "groups", "arms")

    kind: Literal["traces"] = "traces"
    arms: tuple[str, ...] = Field(
        ("base", "thinking", "full"), min_length=1, description="arms of the stage `arms`"
    )
    n: int = Field(3, gt=0, description="problems")

    def run(self, context: StageContext) -> None:
        missing, ledger = missing_arms(context), Ledger()
        for name in self.arms:
            ledger.plan("trace", f"traces of {name}")
            if name in missing:
                ledger.miss("trace", f"traces of {name}", cause=missing[name])
        shown = [name for name in self.arms if name not in missing]
        answers = {name: Rollouts.load(context.of("arms") / f"{name}.jsonl") for name in shown}
        for behaviour, cause in read_absent(context).items():
            ledger.miss("shading", f"features of {behaviour} on traces", cause=cause)
        context.write_ledger(ledger)
        frames = []
        for row in _most_telling_first(answers)[: self.n]:
            for name, rollouts in answers.items():
                frames.append(self._frame(context, name, Rollouts([rollouts[row]], task=rollouts.task)))
        if frames:
            context.write_table(pd.concat(frames, ignore_index=True), TRACES_FILE)

    def _frame(self, context: StageContext, arm: str, rollouts: Rollouts) -> pd.DataFrame:
        """The tokens of one rollout."""
        host, coders, rollout = context.pair.base, read_coders(context), rollouts[0]
        groups = [choice.clamp for choice in read_groups(context)]
        columns: dict[str, np.ndarray] = {}
        acts = capture(host, rollouts, [group.site for group in groups], progress=False) if groups else None
        for group in groups:
            assert acts is not None
            values = coders[group.coder].read(
                acts.at(group.site).float().to(coders[group.coder].device), group.indices
            )
            values = values.detach().cpu().numpy()
            for i, index in enumerate(group.indices):
                columns[f"{group.behaviour}: feature {index} at {group.site}"] = values[
                    len(rollout.prompt_ids) :, i
                ]
        verdict = "right" if grade(rollouts)[0] else "wrong"
        heading = f"{arm} · {verdict} · {rollout.problem.prompt} · {rollout.problem.id}"
        return token_frame(heading, parse(rollouts)[0], host, columns)


def _most_telling_first(answers: dict[str, Rollouts]) -> Sequence[int]:
    """Rows whose arms differ in their grade first, those with most tokens of the environment at the front."""
    if not answers:
        return []
    grades = np.array([grade(rollouts) for rollouts in answers.values()])
    differ = grades.any(0) & ~grades.all(0)
    by_environment = [[sum(r.by_environment) for r in rollouts] for rollouts in answers.values()]
    most = np.max(by_environment, axis=0)
    # the last key of lexsort counts most; the row number settles ties
    return np.lexsort((np.arange(len(most)), -most, ~differ)).tolist()
