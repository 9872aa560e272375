"""Carry out an experiment: stage after stage into a partial directory, resumable at any moment."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import NoneType
from typing import Final

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import ConfigError
from reasonmech.experiments.agenda import Agenda
from reasonmech.experiments.assemble import assemble
from reasonmech.experiments.config import CONFIGS, Experiment, load_experiment
from reasonmech.experiments.helper_process import HelperProcess
from reasonmech.experiments.loaded import Run, load_run
from reasonmech.experiments.record import code_hash
from reasonmech.experiments.stage_job import StageJob
from reasonmech.experiments.store import RunStore, open_store
from reasonmech.files import check_new
from reasonmech.hosts import ModelPair
from reasonmech.organisms import load_pair
from reasonmech.ranges import Positive
from reasonmech.runtime.threads import threads_of

PAIRS: Final = "a ModelPair, such as rm.load_pair(...) returns"
IN_HAND: Final = 'rm.run("demo", pair=pair)'


@checked
def run(
    config: str | Path | Experiment,
    *,
    pair: ModelPair | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] | str = (),
    workers: Positive = 1,
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
        workers: processes that carry out stages which do not wait for each other, this one among them; the
            numbers are those of one. For small models on a CPU with as many idle cores.

    Raises:
        ArgumentError: a value of the wrong type.
        ConfigError: the configuration does not validate, overrides of what is no file, or more workers than
            one for a pair in hand or on a GPU.
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
    experiment.task.load()  # questions that are not there, or too few, are no stage's matter
    for stage in experiment.stages:
        stage.check_pair(pair, experiment.task.kind)
    if workers > 1:
        _check_sharable(pair, in_hand=in_hand, workers=workers)
    with threads_of(pair), open_store(target, _plan(experiment, pair)) as store:
        _carry_out(store, experiment, StageJob.all_of(experiment, pair), workers=workers, progress=progress)
        if all(store.lost(stage.kind) for stage in experiment.stages):
            first = store.lost(experiment.stages[0].kind)
            assert first is not None
            raise first.as_error()
        assemble(store, experiment, pair, in_hand=in_hand)
        return load_run(store.complete())


def _carry_out(
    store: RunStore, experiment: Experiment, jobs: dict[str, StageJob], *, workers: int, progress: bool
) -> None:
    """Every stage that is not finished yet."""
    agenda = Agenda([job.stage for kind, job in jobs.items() if not store.finished(kind, job.inputs)])
    with ExitStack() as stack:
        for _ in range(min(workers, len(agenda)) - 1):
            stack.callback(HelperProcess(experiment, store.out, jobs, agenda).close)
        stack.callback(agenda.close)  # first of all, so that no helper waits for a stage
        while (kind := agenda.take()) is not None:
            jobs[kind].carry_out(store, progress=progress)
            agenda.finish(kind)


def _check_sharable(pair: ModelPair, *, in_hand: bool, workers: int) -> None:
    """Refuse several processes where another one could not have the same pair beside this one."""
    if in_hand:
        raise ConfigError(
            f"workers={workers} for a pair in hand, which another process cannot load",
            allowed="one worker; or a pair that the configuration names",
            do="leave workers out, or name the pair by its YAML file",
        )
    if devices := {str(host.device) for host in (pair.base, pair.thinking) if host.device.type != "cpu"}:
        raise ConfigError(
            f"workers={workers} for a pair on {', '.join(sorted(devices))}, which one process fills",
            allowed="one worker",
            do="leave workers out",
        )


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
