"""Carry out an experiment: stage after stage into a partial directory, resumable at any moment."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import Final

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import ConfigError, DataError
from reasonmech.experiments.assemble import assemble
from reasonmech.experiments.config import CONFIGS, Experiment, load_experiment
from reasonmech.experiments.ledger import STAGE, Cause, Ledger
from reasonmech.experiments.loaded import Run, load_run
from reasonmech.experiments.record import code_hash, package_versions
from reasonmech.experiments.stages.base import Stage, StageContext
from reasonmech.experiments.store import RunStore, open_store
from reasonmech.files import check_new
from reasonmech.hosts import ModelPair
from reasonmech.organisms import load_pair
from reasonmech.runtime.threads import threads_of
from reasonmech.tasks import load_task

PAIRS: Final = "a ModelPair, such as rm.load_pair(...) returns"
IN_HAND: Final = 'rm.run("demo", pair=pair)'


@checked
def run(
    config: str | Path | Experiment,
    *,
    pair: ModelPair | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] | str = (),
    progress: bool = True,
) -> Run:
    """Carry out an experiment and return its finished run.

    A stage whose inputs (its settings and the files they name, the stages it needs, weights and layers of the
    pair, problems, code, packages) are those of an earlier, interrupted start is read back instead of
    computed. A pair of small models is run with one thread (`runtime.threads`), as the record says.
    Nothing is visible under `out` before everything is there.

    What the data cannot answer (a search without positives, an arm without its features, a whole stage) is
    missing, and the run goes on without it: `run.missing` lists it with the first cause of each, and so does
    the report.

    Args:
        config: YAML file, name of a shipped experiment, or a validated `Experiment`.
        pair: a pair in hand, in place of the one that the configuration names; the record says which it was.
        out: the run directory to create; without it `runs/<experiment>-<hash of its inputs>`.
        overrides: "a.b=3" each, applied to the file.

    Raises:
        ArgumentError: a value of the wrong type.
        ConfigError: the configuration does not validate, or overrides of what is no file.
        DataError: every stage is missing; the first cause is named.
        OutputError: `out` exists, cannot be written, is being written by another process, or was begun with
            another pair.
    """
    check_type(pair, (ModelPair, NoneType), name="pair", allowed=PAIRS, do=IN_HAND)
    check_type(out, (str, Path, NoneType), name="out", allowed="a path", do='rm.run("demo", out="runs/demo")')
    experiment, in_hand = _as_experiment(config, overrides), pair is not None
    if pair is not None:
        experiment = experiment.model_copy(update={"pair": pair.name})
    target = check_new(Path(out).expanduser() if out is not None else default_path(experiment, pair))
    pair = load_pair(experiment.pair) if pair is None else pair
    for stage in experiment.stages:
        stage.check_pair(pair, experiment.task.kind)
    with threads_of(pair), open_store(target, _plan(experiment, pair)) as store:
        hashes: dict[str, str] = {}
        for stage in experiment.stages:
            hashes[stage.kind] = _inputs(experiment, stage, pair, hashes)
            if not store.finished(stage.kind, hashes[stage.kind]):
                _carry_out(store, experiment, stage, pair, hashes, progress)
        if all(store.lost(stage.kind) for stage in experiment.stages):
            first = store.lost(experiment.stages[0].kind)
            assert first is not None
            raise first.as_error()
        assemble(store, experiment, pair, in_hand=in_hand)
        return load_run(store.complete())


def _as_experiment(config: str | Path | Experiment, overrides: Sequence[str]) -> Experiment:
    check_type(
        config, (str, Path, Experiment), name="config", allowed=CONFIGS, do=f'rm.run("demo"), or {IN_HAND}'
    )
    if not isinstance(config, Experiment):
        return load_experiment(config, overrides)
    if overrides:
        raise ConfigError(
            "overrides of an experiment that is validated already", do="load_experiment(file, overrides)"
        )
    return config


def default_path(experiment: Experiment, pair: ModelPair | None = None) -> Path:
    """`runs/<name>-<hash>`: the same experiment under the same code has one place, where a restart looks.

    Args:
        pair: the pair in hand, which has a place of its own.
    """
    weights = "" if pair is None else f"|{pair.base.fingerprint}|{pair.thinking.fingerprint}"
    digest = hashlib.sha256(f"{experiment.canonical()}|{code_hash()}{weights}".encode()).hexdigest()
    return Path("runs") / f"{experiment.name}-{digest[:8]}"


def _plan(experiment: Experiment, pair: ModelPair) -> dict[str, object]:
    """What must be the same for an interrupted run to go on; the rest is in its stages' stamps."""
    weights = {"base": pair.base.weight_hash, "thinking": pair.thinking.weight_hash}
    identity = {"base": pair.base.fingerprint, "thinking": pair.thinking.fingerprint}
    return {
        "experiment": experiment.name,
        "pair": {"name": pair.name, **weights},
        "identity": identity,
    }


def _inputs(experiment: Experiment, stage: Stage, pair: ModelPair, hashes: dict[str, str]) -> str:
    """SHA-256 of everything that a stage's files depend on."""
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
        lost = [cause for kind in stage.needs if (cause := store.lost(kind)) is not None]
        try:
            if lost:  # what it would read is not there: the first cause is passed on
                raise lost[0].as_error()
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
        except DataError as error:
            _write_lost(folder, stage.kind, error)
        note["seconds"] = round(time.perf_counter() - begun, 2)
        note["cpu_seconds"] = round(time.process_time() - worked, 2)


def _write_lost(folder: Path, kind: str, error: DataError) -> None:
    """A stage that could do nothing at all leaves the reason, and nothing half done."""
    shutil.rmtree(folder)
    folder.mkdir()
    ledger = Ledger()
    ledger.miss(STAGE, f"stage {kind}", cause=Cause.of(error))
    ledger.write(folder)
