"""A finished run, read back: tidy tables and the record, from any machine, without the models."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Final, final

import pandas as pd

from reasonmech.arguments import check_path
from reasonmech.claims.saving import JUDGEMENT_FILE
from reasonmech.door import checked
from reasonmech.errors import CorruptFileError, OutputError, UnknownNameError
from reasonmech.experiments.stage_tables import StageTables
from reasonmech.experiments.tables import read_table
from reasonmech.files import partial_of, remove_leftovers
from reasonmech.json_text import parse_json, read_object
from reasonmech.receipt import OLD_NAMES, current_line
from reasonmech.yaml_text import read_yaml

_HOST: Final = {"name": str, "weights_sha256": str}
_NUMBER: Final = (float, type(None))
_OF_A_DOSE: Final = ("behaviour", "verb", "place", "arm")
_TAGS: Final = {f"{tag}?": str for tag in ("study", *_OF_A_DOSE)} | {"dose?": float}
RECORD: Final = {
    "run": str,
    "experiment": str,
    "question": str,
    "pair": {"name": str, "in_hand?": bool, "base": _HOST, "thinking": _HOST},
    "seed": int,
    "seconds": float,
    "started": str,
    "finished": str,
    "command": [str],
    "packages": {"reasonmech": str},
    "git": {"commit": (str, type(None)), "dirty": (bool, type(None))},
    "machine": {"platform": str, "device": str, "python": str},
    "conditions": [{"name": str, "host": str, "tags": _TAGS}],
    "receipts": {"*": [{"site": str, "n_masked": int, "mean_relative": _NUMBER, "kl?": _NUMBER}]},
    "notes": [str],
    "planned?": {"*": {"*": int}},
}


_INTERVAL: Final = {"estimate": float, "low": float, "high": float}
JUDGEMENT: Final = {
    "pair": str,
    "problems": int,
    "verdict": str,
    "reason": str,
    "sentence": str,
    "methods": str,
    "decisive": str,
    "gaps": {"*": _INTERVAL},
    "findings": [{"claim": {"name": str, "statement": str}, "status": str, "reason": str, "numbers": {}}],
    "notes": [str],
}


@final
class Run(StageTables):
    """The files of one run. Everything is read on first use and nothing is computed."""

    @checked
    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def results(self) -> pd.DataFrame:
        """Long table: one number per row (see `reasonmech.experiments.tables.COLUMNS`)."""
        table = read_table(self.path / "results.parquet").rename(columns=OLD_NAMES)
        return (
            table if "n_changed" in table else table.assign(n_changed=pd.array([pd.NA] * len(table), "Int64"))
        )

    @cached_property
    def judgement(self) -> dict[str, Any] | None:
        """The verdict about the pair, as `claims.Judgement.to_json` has it, with its first sentence and its
        methods; None where the run judged nothing."""
        file = self.path / JUDGEMENT_FILE
        return read_object(file, JUDGEMENT, do="run the experiment again") if file.is_file() else None

    @property
    def n_planned(self) -> int | None:
        """How many things the run was asked for; None for runs older than this."""
        if "planned" not in self.record:
            return None
        return sum(n for parts in self.record["planned"].values() for n in parts.values())

    @cached_property
    def generations(self) -> list[dict[str, Any]]:
        """Texts that models wrote, with their spans. Raises CorruptFileError on a damaged line."""
        path = self.path / "generations.jsonl"
        try:
            return [parse_json(line) for line in path.read_bytes().splitlines()]
        except (OSError, ValueError) as error:
            raise CorruptFileError(
                f"{path} cannot be read: {error}", do="run the experiment again"
            ) from error

    @cached_property
    def record(self) -> dict[str, Any]:
        file = self.path / "record.json"
        record = read_object(file, RECORD, do="run the experiment again")
        for i, condition in enumerate(record["conditions"]):
            lacking = [tag for tag in _OF_A_DOSE if tag not in condition["tags"]]
            if condition["tags"].get("study") == "doses" and lacking:
                raise CorruptFileError(
                    f"{file} says no conditions[{i}].tags.{lacking[0]}", do="run the experiment again"
                )
        for lines in record["receipts"].values():
            lines[:] = map(current_line, lines)
        return record

    @cached_property
    def config(self) -> dict[str, Any]:
        return read_yaml(self.path / "config.yaml").value

    def tensors(self) -> dict[str, Any]:
        """Vectors and activations, by name."""
        from safetensors.torch import load_file

        return load_file(self.path / "tensors.safetensors")

    @checked
    def value(self, metric: str, condition: str) -> float:
        """The one number of a condition as a whole. Raises UnknownNameError, listing what was measured."""
        rows = self.results.loc[(self.results.metric == metric) & (self.results.problem == "")]
        values = rows.loc[rows.condition == condition, "value"].tolist()
        if len(values) != 1:
            raise UnknownNameError(f"{metric} of condition", condition, sorted(set(rows.condition)))
        return float(values[0])

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {len(self.results)} numbers)"


@checked
def load_run(path: str | Path) -> Run:
    """Open a finished run.

    Raises:
        ArgumentError: neither a text nor a path.
        OutputError: nothing is there, or the run is only partial.
        CorruptFileError: a file of it is missing or damaged.
    """
    path = Path(
        check_path(
            path,
            name="path",
            allowed="the directory of a finished run, as a text or a path",
            do='rm.load_run("runs/demo-1a2b3c4d"): what `reasonmech run` printed',
        )
    )
    if not path.is_dir() or path.name.endswith(".partial"):
        partial = path if path.name.endswith(".partial") else partial_of(path)
        if partial.is_dir():
            stages = ", ".join(
                sorted(p.name for p in (partial / "stages").glob("*/stamp.json") for p in [p.parent])
            )
            raise OutputError(
                f"{partial} is a run that was not finished (complete stages: {stages or 'none'})",
                do="start it again with the same configuration and output directory: it resumes",
            )
        raise OutputError(
            f"{path} is no run directory", do="give the directory that `reasonmech run` printed"
        )
    remove_leftovers(path)
    run = Run(path)
    for name in ("results.parquet", "record.json", "config.yaml", "generations.jsonl"):
        if not (path / name).exists():
            raise CorruptFileError(f"{path} lacks {name}", do="run the experiment again")
    return run
