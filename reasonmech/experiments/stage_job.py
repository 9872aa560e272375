"""StageJob: one stage of a run, carried out into the run's store by whichever process took it."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import final

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.experiments.config import Experiment
from reasonmech.experiments.ledger import STAGE, Cause, Ledger
from reasonmech.experiments.record import code_hash, package_versions
from reasonmech.experiments.stages.base import Stage, StageContext
from reasonmech.experiments.store import RunStore
from reasonmech.hosts import ModelPair
from reasonmech.tasks import source_of


@final
@dataclass(frozen=True)
class StageJob:
    """A stage, and what it is carried out with.

    Attributes:
        inputs: SHA-256 of everything that its files depend on.
    """

    experiment: Experiment
    stage: Stage
    pair: ModelPair
    inputs: str

    @classmethod
    def all_of(cls, experiment: Experiment, pair: ModelPair) -> dict[str, StageJob]:
        """Kind of stage -> job, in the order of the configuration."""
        jobs: dict[str, StageJob] = {}
        for stage in experiment.stages:
            needs = [jobs[kind].inputs for kind in stage.reads]
            jobs[stage.kind] = cls(experiment, stage, pair, _inputs(experiment, stage, pair, needs))
        return jobs

    @checked
    def carry_out(self, store: RunStore, *, progress: bool) -> None:
        """Write the stage's folder; where the data cannot answer at all, the folder says why."""
        task, stage = self.experiment.task, self.stage
        note: dict[str, object] = {"started": datetime.now(UTC).isoformat(timespec="seconds")}
        begun, worked = time.perf_counter(), time.process_time()
        with store.writing(stage.kind, self.inputs, note) as folder:
            lost = [cause for kind in stage.reads if (cause := store.lost(kind)) is not None]
            try:
                if lost:  # what it would read is not there: the first cause is passed on
                    raise lost[0].as_error()
                stage.run(
                    StageContext(
                        pair=self.pair,
                        problems=task.load(),
                        decode=self.experiment.decode,
                        seed=self.experiment.seed,
                        out=folder,
                        progress=progress,
                        finished={kind: store.stage_path(kind) for kind in stage.reads},
                        work=store.work_path(stage.kind, self.inputs),
                    )
                )
            except DataError as error:
                _write_lost(folder, stage.kind, error)
            note["seconds"] = round(time.perf_counter() - begun, 2)
            note["cpu_seconds"] = round(time.process_time() - worked, 2)


def _inputs(experiment: Experiment, stage: Stage, pair: ModelPair, needs: list[str]) -> str:
    parts = {
        "code": code_hash(),
        "packages": package_versions(),
        "models": [pair.base.fingerprint, pair.thinking.fingerprint],
        "layers": [pair.steering_layer, pair.sae_layer],
        "task": experiment.task.model_dump(mode="json"),
        "decode": json.loads(experiment.canonical())["decode"],
        "seed": experiment.seed,
        "stage": stage.model_dump(mode="json"),
        "files": stage.files(),
        "needs": needs,
    }
    if (source := source_of(experiment.task.kind)) is not None:
        parts["source"] = source
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _write_lost(folder: Path, kind: str, error: DataError) -> None:
    """A stage that could do nothing at all leaves the reason, and nothing half done."""
    shutil.rmtree(folder)
    folder.mkdir()
    ledger = Ledger()
    ledger.miss(STAGE, f"stage {kind}", cause=Cause.of(error))
    ledger.write(folder)
