"""From the folders of finished stages to the files of a run: the tables, the generations, the record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from reasonmech.errors import ConfigError
from reasonmech.experiments.config import Experiment
from reasonmech.experiments.ledger import Ledger, missing_table
from reasonmech.experiments.record import code_state
from reasonmech.experiments.stages.base import RUN_FILES
from reasonmech.experiments.store import RunStore
from reasonmech.experiments.tables import MISSING_FILE, finish_results, read_json, read_table
from reasonmech.files import write_table, write_text
from reasonmech.hosts import Host, ModelPair
from reasonmech.tasks import source_of


def assemble(store: RunStore, experiment: Experiment, pair: ModelPair, *, in_hand: bool = False) -> None:
    """Write every file of the run into the partial directory. Doing it twice gives the same files.

    Args:
        in_hand: whether the pair was given as a value: its name in the configuration then loads nothing.
    """
    folders = [store.stage_path(stage.kind) for stage in experiment.stages]
    name, top = store.out.name, store.partial
    results = [read_table(path) for folder in folders if (path := folder / "results.parquet").exists()]
    write_table(
        finish_results(results, run=name, experiment=experiment.name, seed=experiment.seed),
        top / "results.parquet",
    )
    features = [read_table(path) for folder in folders if (path := folder / "features.parquet").exists()]
    if features:
        write_table(features[-1], top / "features.parquet")
    generations = [path.read_text() for folder in folders if (path := folder / "generations.jsonl").exists()]
    write_text(top / "generations.jsonl", "".join(generations))
    _merge_tensors(folders, top / "tensors.safetensors")
    ledgers = {stage.kind: Ledger.read(store.stage_path(stage.kind)) for stage in experiment.stages}
    write_table(missing_table(ledgers), top / MISSING_FILE)
    for folder in folders:
        if (folder / RUN_FILES).exists():
            shutil.copytree(folder / RUN_FILES, top, dirs_exist_ok=True)
    record = _record(store, experiment, folders, pair=_describe_pair(pair, in_hand=in_hand))
    record["planned"] = {stage: ledger.counts() for stage, ledger in ledgers.items()}
    write_text(top / "config.yaml", yaml.safe_dump(json.loads(experiment.canonical()), sort_keys=False))
    write_text(top / "record.json", json.dumps(record, indent=1))


def _merge_tensors(folders: Sequence[Path], path: Path) -> None:
    from safetensors.torch import load_file, save_file

    merged: dict[str, Any] = {}
    for folder in folders:
        if (folder / "tensors.safetensors").exists():
            merged |= load_file(folder / "tensors.safetensors")
    unfinished = path.with_name(path.name + ".unfinished")
    save_file(merged, unfinished)
    unfinished.replace(path)


def _record(
    store: RunStore, experiment: Experiment, folders: Sequence[Path], *, pair: dict[str, Any]
) -> dict[str, Any]:
    stamps = {stage.kind: store.stamp(stage.kind) for stage in experiment.stages}
    conditions = [c for folder in folders if (p := folder / "conditions.json").exists() for c in read_json(p)]
    names = [condition["name"] for condition in conditions]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(
            f"conditions named in two stages: {', '.join(repeated)}", do="give each a name of its own"
        )
    receipts = {
        k: v
        for folder in folders
        if (p := folder / "receipts.json").exists()
        for k, v in read_json(p).items()
    }
    return {
        "run": store.out.name,
        "experiment": experiment.name,
        "question": experiment.question,
        "config_sha256": experiment.fingerprint(),
        **code_state(),
        "pair": pair,
        "data": {
            "task": experiment.task.model_dump(mode="json"),
            **({} if (source := source_of(experiment.task.kind)) is None else {"source": source}),
            "split_note": "every arm is scored on these problems; what failed or was cut off counts as wrong",
        },
        "seed": experiment.seed,
        "stages": stamps,
        "seconds": sum(float(str(stamp["seconds"])) for stamp in stamps.values()),
        "started": min(str(stamp["started"]) for stamp in stamps.values()),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "conditions": conditions,
        "receipts": receipts,
        "notes": [n for folder in folders if (p := folder / "notes.json").exists() for n in read_json(p)],
    }


def _describe_pair(pair: ModelPair, *, in_hand: bool) -> dict[str, Any]:
    hosts = {"base": _describe_host(pair.base), "thinking": _describe_host(pair.thinking)}
    differences = [f"{difference.kind}: {difference.what}" for difference in pair.differences]
    return {"name": pair.name, "in_hand": in_hand, "differences": differences, **hosts}


def _describe_host(host: Host) -> dict[str, Any]:
    prompt = {} if host.prompt.is_plain else {"prompt": host.prompt.show(host.tokenizer)}
    return {
        "name": host.name,
        "weights_sha256": host.weight_hash,
        "identity": host.model_identity().beyond_weights(),
        "layers": host.n_layers,
        "width": host.d_model,
        "vocabulary": host.vocab_size,
        "dtype": str(host.dtype).removeprefix("torch."),
        "device": str(host.device),
        "sampling_not_applied": host.sampling,
        **prompt,
    }
