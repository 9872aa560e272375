"""Stage `judge`: the verdict about the pair, which every other number of the run is read under."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from pydantic import Field

from reasonmech.claims import Extent, Questions, Registration, Terms, measure_judgement
from reasonmech.claims.saving import EVIDENCE_FILE, JUDGEMENT_FILE, evidence_table, judgement_text
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.files import write_text
from reasonmech.ranges import Positive, Seed

PART: Final = "verdict"


@stages.register("judge")
class JudgePair(Stage):
    """WHEN, HOW, both, sharpened, format, neither, or not decided, as `reasonmech.judge` has it.

    On a split that may be looked at again and again; the confirmation split is `reasonmech.judge`'s, which
    keeps a ledger of who looked.
    """

    kind: Literal["judge"] = "judge"
    n: Positive = Field(300, description="problems that the pair is judged on")
    fitting: Positive = Field(60, description="other problems, on which the base's temperature is fitted")
    full: bool = Field(False, description="more samples, the factorial by behaviour, the leak curve")
    split: Literal["train", "tuning", "test"] = Field("test", description="of the problems")
    seed: Seed = Field(0, description="of the problems and the noise")

    def run(self, context: StageContext) -> None:
        ledger = Ledger()
        with ledger.attempt(PART, "the verdict"):
            task, extent = context.problems.task, Extent.of(self.n, full=self.full)
            extent = replace(extent, fitting=self.fitting)
            terms = Terms(task=task, split=self.split, seed=self.seed)
            questions = Questions.drawn(task, extent, split=self.split, seed=self.seed)
            registration = Registration.of(context.pair, task=task, terms=terms, extent=extent)
            judgement = measure_judgement(
                context.pair, questions, registration, work=context.work, progress=context.progress
            )
            context.write_table(evidence_table(judgement.evidence), EVIDENCE_FILE)
            write_text(context.open_run_folder() / JUDGEMENT_FILE, judgement_text(judgement))
        context.write_ledger(ledger)
