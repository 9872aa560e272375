"""train_coder, train_coders: activations and configs in, sparse coders out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from reasonmech.coders.checkpoint import CHECKPOINT_FILE, read_checkpoint, write_checkpoint
from reasonmech.coders.coder import SparseCoder, Trained
from reasonmech.coders.config import CoderConfig, load_coder_config
from reasonmech.coders.hookname import hook_of_site
from reasonmech.coders.names import check_names
from reasonmech.coders.recipe import RECORD, SINKS
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.coders.source import (
    ActivationSource,
    TextSource,
    batches_of,
    check_activations,
    check_captured,
    digest_of,
    moments_of,
    one_site,
)
from reasonmech.coders.training import Training
from reasonmech.device import device_of
from reasonmech.digest import identity_of
from reasonmech.door import checked
from reasonmech.errors import ConfigError, DataError
from reasonmech.files import PLAN_FILE, check_new
from reasonmech.mode import fitting
from reasonmech.resumable import ResumableDirectory
from reasonmech.site import Site

WORKING: Final = (CHECKPOINT_FILE, PLAN_FILE)  # what only a training that is not complete holds
WORDS: Final = {"host_hash": "another model", "rows": "other activations"}
REPORT_EVERY: Final = 50  # steps between two looks at the progress bar's numbers
TrainingJob = tuple[CoderConfig, Site]


@checked
def train_coder(
    acts: ActivationSource | Float[Tensor, "token d_model"],
    config: CoderConfig | str | Path,
    *,
    site: Site | str | None = None,
    host: Trained | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> SparseCoder:
    """Train a sparse coder on the activations of one site, with SAELens' trainer.

    The weight hash of the model travels with the coder, so that it is refused on any other one; so does the
    training curve (`training_curve`). Nothing is logged anywhere. For several at once, or a training that
    survives a kill: `train_coders`.

    Args:
        acts: captured activations, or a tensor [token, d_model] of them together with `site` and `host`.
        config: settings, a YAML file of them, or the name of a shipped one ("topk", "batchtopk",
            "matryoshka",
            "standard").
        site: which site of `acts`; may be left out where there is only one.
        host: the model that a plain tensor came from.
        device: where to train. None: where the host is, else the CPU.

    Raises:
        DataError: fewer tokens than one batch. NonFiniteError: NaN or infinity in the activations or the
            loss.
        UnknownNameError: no such config, architecture or site. MismatchError: a tensor without site and host.
    """
    settings = load_coder_config(config)
    where = None if device is None else device_of(device)
    at, source = one_site(acts, site=site, host=host)
    where = where or torch.device("cpu" if host is None else host.device)
    name = f"{settings.architecture}@{at}"
    return train_together({name: (settings, at)}, source, device=where, progress=progress)[name]


@checked
def train_coders(
    acts: ActivationSource,
    configs: Mapping[str, CoderConfig | str | Path] | Sequence[str],
    *,
    sites: Sequence[Site | str] | None = None,
    out: str | Path | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> dict[str, SparseCoder]:
    """Train several coders (configs x sites) in one pass: each batch of tokens is read once, for all of them.

    Every coder comes out exactly as `train_coder` alone would make it.

    Args:
        acts: captured activations of all the sites.
        configs: name -> settings, YAML file or shipped name; or shipped names alone. They share `batch_size`,
            `seed` and `buffer`, which fix the order of the tokens; steps, widths and architectures may
            differ.
        sites: where. None: every captured site.
        out: directory to create, one coder at `<out>/<name>/<site>`. A killed training goes on where its last
            checkpoint was (`checkpoint_every`) when it is called again with the same arguments. None: in
            memory.
        device: where to train.

    Returns:
        "name/site" -> coder, in the order of configs and then sites.

    Raises:
        ConfigError: no config, or they differ in batch size, seed or buffer; or, with `out`, a name is no
            folder's.
        OutputError: `out` exists, cannot be written, is being written, or holds part of another training.
        CorruptFileError: what a killed training left is damaged.
        DataError, NonFiniteError, UnknownNameError: as of `train_coder`.
    """
    check_activations(acts)
    for name, value in (("configs", configs), ("sites", sites)):
        if isinstance(value, str | Site):
            raise ConfigError(
                f"{name}={str(value)!r} is one of them", allowed="a list", do=f'write ["{value}"]'
            )
    named = configs if isinstance(configs, Mapping) else {name: name for name in configs}
    settings, where = {name: load_coder_config(config) for name, config in named.items()}, device_of(device)
    at = [check_captured(acts, site) for site in (acts.sites if sites is None else sites)]
    jobs = {f"{name}/{site}": (config, site) for (name, config), site in product(settings.items(), at)}
    if len({(config.batch_size, config.seed, config.buffer) for config, _ in jobs.values()}) != 1:
        orders = {name: (config.batch_size, config.seed, config.buffer) for name, config in settings.items()}
        raise ConfigError(
            f"(batch_size, seed, buffer) of the configs: {orders}",
            allowed="one batch_size, one seed, one buffer: coders of one pass read the same batches",
            do="train those that differ in another call",
        )
    if out is None:
        return dict(train_together(jobs, acts, device=where, progress=progress))
    check_names(settings, working=WORKING)
    return dict(_train_to_directory(jobs, acts, out=check_new(out), device=where, progress=progress))


@fitting("train_coders")
def train_together(
    jobs: Mapping[str, TrainingJob],
    source: ActivationSource,
    *,
    device: torch.device,
    progress: bool,
    checkpoint: Path | None = None,
    record: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, SAELensCoder]:
    """Train all jobs on the same batches; with `checkpoint`, from where that file is, and writing it.

    Args:
        record: what the coders' record is to say besides.
    """
    first = next(iter(jobs.values()))[0]
    trainings = {
        name: _training(source, (config, site), device=device, record=record)
        for name, (config, site) in jobs.items()
    }
    if checkpoint is not None and checkpoint.exists():
        read_checkpoint(checkpoint, trainings)
    done, last = max(t.n_steps for t in trainings.values()), max(config.steps for config, _ in jobs.values())
    every = min(config.checkpoint_every for config, _ in jobs.values())
    sites = list(dict.fromkeys(site for _, site in jobs.values()))
    batches = batches_of(source, sites, first, start=done, stop=last)
    bar = tqdm(batches, desc=_title(jobs), initial=done, total=last, disable=not progress)
    for step, batch in enumerate(bar, start=done):
        inputs = {site: rows.to(device, torch.float32) for site, rows in batch.items()}
        for name, (_, site) in jobs.items():
            if not trainings[name].finished:
                trainings[name].step(inputs[site])
        if step % REPORT_EVERY == 0:
            bar.set_postfix_str(" ".join(f"{t.curve['loss'][-1]:.3f}" for t in trainings.values()))
        if checkpoint is not None and (step + 1) % every == 0 and step + 1 < last:
            write_checkpoint(checkpoint, trainings)
    return {name: training.finish(name) for name, training in trainings.items()}


def _title(jobs: Mapping[str, TrainingJob]) -> str:
    return f"{len(jobs)} SAEs" if len(jobs) > 1 else f"SAE {next(iter(jobs))}"


def _training(
    source: ActivationSource, job: TrainingJob, *, device: torch.device, record: Mapping[str, Any]
) -> Training:
    config, site = job
    moments = moments_of(source, site, seed=config.seed, device=device, include_sinks=config.include_sinks)
    if moments.norm == 0:
        raise DataError(f"activations of {site} are all zero", do="capture a site that the model writes to")
    settings = config.model_dump(mode="json")
    texts = isinstance(source, TextSource)
    metadata = {
        "model_name": source.host_name,
        "hook_name": hook_of_site(site),
        "prepend_bos": texts and source.with_bos,
        **({"context_size": source.longest} if texts else {}),
        RECORD: {
            "site": str(site),
            "model_hash": source.host_hash,
            "model_identity": _beyond_weights(source),
            "config": settings,
            SINKS: moments.sinks.to_json(),
            **record,
        },
    }
    return Training(config.recipe(), moments=moments, metadata=metadata)


def _beyond_weights(source: ActivationSource) -> dict[str, str] | None:
    model = identity_of(source, source.host_hash)
    return None if model is None else model.beyond_weights()


def _train_to_directory(
    jobs: Mapping[str, TrainingJob],
    source: ActivationSource,
    *,
    out: Path,
    device: torch.device,
    progress: bool,
) -> Mapping[str, SparseCoder]:
    """Train all jobs into a directory that appears when every coder is in it."""
    directory = ResumableDirectory(out, _plan(jobs, source), kind="training", working=WORKING, words=WORDS)
    with directory.open():
        coders = train_together(
            jobs, source, device=device, progress=progress, checkpoint=directory.path(CHECKPOINT_FILE)
        )
        for name, coder in coders.items():
            target = directory.path(name)
            if target.exists():  # a kill came between the last step and the rename
                shutil.rmtree(target)
            coder.save(target)
        directory.complete()
    return coders


def _plan(jobs: Mapping[str, TrainingJob], source: ActivationSource) -> dict[str, Any]:
    """What a training that goes on must have in common with the one that was killed."""
    sites = dict.fromkeys(site for _, site in jobs.values())
    return {
        "coders": {name: config.model_dump(mode="json") for name, (config, _) in jobs.items()},
        "host_hash": source.host_hash,
        "identity": _beyond_weights(source),
        "tokens": source.n_tokens,
        "rows": digest_of(source, list(sites)),
        "with_positions": isinstance(source, TextSource),
    }
