"""Carry out an experiment: stage after stage into a partial directory, resumable at any moment, then one
rename."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from reasonmech.experiments.assemble import assemble
from reasonmech.experiments.config import Experiment, load_experiment
from reasonmech.experiments.loaded import Run, load_run
from reasonmech.experiments.record import code_hash, package_versions
from reasonmech.experiments.stages.base import Stage, StageContext
from reasonmech.experiments.store import RunStore, open_store
from reasonmech.hosts import ModelPair
from reasonmech.organisms import load_pair
from reasonmech.tasks import load_task


def run(
    config: str | Path | Experiment,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    progress: bool = True,
) -> Run:
    """Carry out an experiment and return its finished run.

    A stage whose inputs (its settings and the files they name, the stages it needs, weights and layers of the
    pair, problems, code, packages) are those of an earlier, interrupted start is read back instead of
    computed. Nothing is visible under `out` before everything is there.

    Args:
        config: YAML file, name of a shipped experiment, or a validated `Experiment`.
        out: the run directory to create; without it `runs/<experiment>-<hash of its inputs>`.
        overrides: "a.b=3" each, applied to the file.

    Raises:
        ConfigError: the configuration does not validate.
        OutputError: `out` exists, cannot be written, or is being written by another process.
    """
    experiment = config if isinstance(config, Experiment) else load_experiment(config, overrides)
    target = Path(out).expanduser() if out is not None else default_path(experiment)
    with open_store(target, experiment.name) as store:
        pair = load_pair(experiment.pair)
        hashes: dict[str, str] = {}
        for stage in experiment.stages:
            hashes[stage.kind] = _inputs(experiment, stage, pair, hashes)
            if not store.finished(stage.kind, hashes[stage.kind]):
                _carry_out(store, experiment, stage, pair, hashes, progress)
        assemble(store, experiment, pair)
        return load_run(store.complete())


def default_path(experiment: Experiment) -> Path:
    """`runs/<name>-<hash>`: the same experiment under the same code has one place, so a restart finds its
    parts."""
    digest = hashlib.sha256(f"{experiment.canonical()}|{code_hash()}".encode()).hexdigest()
    return Path("runs") / f"{experiment.name}-{digest[:8]}"


def _inputs(experiment: Experiment, stage: Stage, pair: ModelPair, hashes: dict[str, str]) -> str:
    """SHA-256 of everything that a stage's files depend on."""
    parts = {
        "code": code_hash(),
        "packages": package_versions(),
        "weights": [pair.base.weight_hash, pair.thinking.weight_hash],
        "layers": [pair.steering_layer, pair.sae_layer],
        "task": experiment.task.model_dump(mode="json"),
        "decode": json.loads(experiment.canonical())["decode"],
        "seed": experiment.seed,
        "stage": stage.model_dump(mode="json"),
        "files": stage.files(),
        "needs": [hashes[kind] for kind in stage.needs],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _carry_out(
    store: RunStore,
    experiment: Experiment,
    stage: Stage,
    pair: ModelPair,
    hashes: dict[str, str],
    progress: bool,
) -> None:
    task = experiment.task
    note: dict[str, object] = {"started": datetime.now(UTC).isoformat(timespec="seconds")}
    begun, worked = time.perf_counter(), time.process_time()
    with store.writing(stage.kind, hashes[stage.kind], note) as folder:
        stage.run(
            StageContext(
                pair=pair,
                problems=load_task(task.kind, n=task.n, seed=task.seed, split=task.split),
                decode=experiment.decode,
                seed=experiment.seed,
                out=folder,
                progress=progress,
                finished={kind: store.stage_path(kind) for kind in stage.needs},
            )
        )
        note["seconds"] = round(time.perf_counter() - begun, 2)
        note["cpu_seconds"] = round(time.process_time() - worked, 2)
