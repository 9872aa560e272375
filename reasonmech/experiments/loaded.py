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
from reasonmech.experiments.tables import (
    ARM_PAIRS_FILE,
    BASELINES_FILE,
    DETECTORS_FILE,
    FALSIFIED_FILE,
    LADDER_FILE,
    MATCHED_ONSETS_FILE,
    METRICS_FILE,
    MISSING_FILE,
    NULL_DRAWS_FILE,
    NULLS_FILE,
    ONSETS_FILE,
    PAIRWISE_FILE,
    PRESERVATION_FILE,
    SELECTIVITY_FILE,
    TRACES_FILE,
    TRAININGS_FILE,
    WRITTEN_FILE,
    read_table,
)
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
class Run:
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
    def features(self) -> pd.DataFrame:
        """Located features, empty when the experiment located none."""
        return self._table("features.parquet")

    @cached_property
    def written_features(self) -> pd.DataFrame:
        """Features that the run clamps and ablates, one row each; empty where it chose none, and for runs
        older than this."""
        return self._table(WRITTEN_FILE)

    @cached_property
    def ladder(self) -> pd.DataFrame:
        """Verdicts on C0, C1 and C2 for every feature that is written; empty where nobody asked."""
        return self._table(LADDER_FILE)

    @cached_property
    def falsified(self) -> pd.DataFrame:
        """What every attempt to refute a clamped feature came to; empty where nobody asked."""
        return self._table(FALSIFIED_FILE)

    @cached_property
    def baselines(self) -> pd.DataFrame:
        """AUROC of what needs no coder where those features are to detect; empty where nobody asked."""
        return self._table(BASELINES_FILE)

    @cached_property
    def onsets(self) -> pd.DataFrame:
        """Every intervention of the study on the onset of every kind; empty for runs older than this."""
        return self._table(ONSETS_FILE)

    @cached_property
    def selectivity(self) -> pd.DataFrame:
        """Groups beside controls matched in KL, with a reading; empty where it was not measured."""
        return self._table(SELECTIVITY_FILE)

    @cached_property
    def matched_onsets(self) -> pd.DataFrame:
        """The same groups and controls on the onset of every kind; empty where it was not measured."""
        return self._table(MATCHED_ONSETS_FILE)

    @cached_property
    def detectors(self) -> pd.DataFrame:
        """Features beside detectors that need no coder, at equal tuning; empty where none were compared."""
        return self._table(DETECTORS_FILE)

    @cached_property
    def preservation(self) -> pd.DataFrame:
        """Hazard of each behaviour under its coder's reconstruction; empty when it was not measured."""
        return self._table(PRESERVATION_FILE)

    @cached_property
    def arm_pairs(self) -> pd.DataFrame:
        """On how many problems two arms write one text, a pair a row; empty for runs older than this."""
        return self._table(ARM_PAIRS_FILE)

    @cached_property
    def nulls(self) -> pd.DataFrame:
        """The full arm among draws of each null, a null a row; empty when no draws were run."""
        return self._table(NULLS_FILE)

    @cached_property
    def null_draws(self) -> pd.DataFrame:
        """What each draw of each null did, at its own best dose; empty when no draws were run."""
        return self._table(NULL_DRAWS_FILE)

    @cached_property
    def trainings(self) -> pd.DataFrame:
        """The full arm over trainings of its vectors, a training a row; empty where there was one."""
        return self._table(TRAININGS_FILE)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Configured metrics, one row per metric and condition; empty when none was configured."""
        return self._table(METRICS_FILE)

    @cached_property
    def pairwise(self) -> pd.DataFrame:
        """Statistics of the pair, rows of `reasonmech.pairwise.COLUMNS`; empty when none was configured."""
        return self._table(PAIRWISE_FILE)

    @cached_property
    def judgement(self) -> dict[str, Any] | None:
        """The verdict about the pair, as `claims.Judgement.to_json` has it, with its first sentence and its
        methods; None where the run judged nothing."""
        file = self.path / JUDGEMENT_FILE
        return read_object(file, JUDGEMENT, do="run the experiment again") if file.is_file() else None

    @cached_property
    def traces(self) -> pd.DataFrame:
        """Some texts token by token with feature activations, empty when the experiment showed none."""
        return self._table(TRACES_FILE)

    @cached_property
    def missing(self) -> pd.DataFrame:
        """What the run was asked for and lacks, one item a row: stage, part, item, and the first cause in its
        parts (error, happened, allowed, do). Empty where nothing is missing, and for runs older than this."""
        return self._table(MISSING_FILE)

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

    def _table(self, name: str) -> pd.DataFrame:
        path = self.path / name
        return read_table(path) if path.exists() else pd.DataFrame()

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
