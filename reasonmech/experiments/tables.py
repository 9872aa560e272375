"""The tables of a run: one number per row, beside what it was measured on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow

from reasonmech.door import checked
from reasonmech.errors import ConfigError, CorruptFileError
from reasonmech.json_text import read_value

# tables of a run that a stage of its own writes
DETECTORS_FILE: Final = "detectors.parquet"  # stage `compare`
TRACES_FILE: Final = "traces.parquet"  # stage `traces`
ARM_PAIRS_FILE: Final = "arm_pairs.parquet"  # stage `arms`
NULLS_FILE: Final = "nulls.parquet"  # stage `nulls`
NULL_DRAWS_FILE: Final = "null_draws.parquet"  # stage `nulls`
TRAININGS_FILE: Final = "trainings.parquet"  # stage `nulls`
PRESERVATION_FILE: Final = "kept.parquet"  # stage `kept`
ONSETS_FILE: Final = "onsets.parquet"  # stage `study`
SELECTIVITY_FILE: Final = "selectivity.parquet"  # stage `selectivity`
MATCHED_ONSETS_FILE: Final = "matched_onsets.parquet"  # stage `selectivity`
LADDER_FILE: Final = "ladder.parquet"  # stage `ladder`
FALSIFIED_FILE: Final = "falsified.parquet"  # stage `ladder`
BASELINES_FILE: Final = "baselines.parquet"  # stage `ladder`
WRITTEN_FILE: Final = "written_features.parquet"  # stage `groups`
METRICS_FILE: Final = "metrics.parquet"  # stage `metrics`
BUDGET_POINTS_FILE: Final = "budget_points.parquet"  # stage `budget`
BUDGET_CURVES_FILE: Final = "budget_curves.parquet"  # stage `budget`
STEERED_PLACES_FILE: Final = "steered_places.parquet"  # stage `arms`
STEERED_TEXTS_FILE: Final = "steered_texts.parquet"  # stage `arms`
PAIRWISE_FILE: Final = "pairwise.parquet"  # stage `pairwise`
MISSING_FILE: Final = "missing.parquet"  # of the whole run
COLUMNS: Final = (
    "run",
    "experiment",
    "host",
    "condition",
    "control_for",
    "fingerprint",
    "problem",
    "sample",
    "seed",
    "metric",
    "value",
    "unit",
    "n_tokens",
    "n_masked",
    "n_gated",
    "n_changed",
)


@checked
@dataclass(frozen=True)
class Counts:
    """Tokens that an intervention saw, that its mask named, at which its gate was open, that it changed."""

    n_tokens: int
    n_masked: int
    n_gated: int
    n_changed: int | None  # None where it was not counted


@checked
@dataclass(frozen=True)
class Condition:
    """What was done to which host.

    Attributes:
        name: unique in a run ("full", "clamp check 2.0").
        host: "base", "thinking" or "hybrid".
        fingerprint: identity of the plan or hybrid ("" for an untouched host).
        control_for: the condition whose control this is.
        control: the condition that controls this one.
        no_control: why it has none.
        tags: coordinates for figures: verb, behaviour, dose, group, ...
    """

    name: str
    host: str
    fingerprint: str = ""
    control_for: str = ""
    control: str = ""
    no_control: str = ""
    tags: Mapping[str, str | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.fingerprint and not (self.control or self.control_for or self.no_control):
            raise ConfigError(
                f"condition {self.name!r} names no control",
                allowed="control, control_for, or no_control with a reason",
                do="an effect is printed beside its control only",
            )

    @checked
    def rows(
        self,
        metric: str,
        values: Sequence[float] | np.ndarray,
        *,
        unit: str,
        problems: Sequence[str] | np.ndarray = (),
        samples: Sequence[int] = (),
        counts: Counts | None = None,
    ) -> pd.DataFrame:
        """Rows of `results.parquet`: one per value; without `problems` the value is of the condition as a
        whole."""
        n = len(values)
        return pd.DataFrame(
            {
                "host": self.host,
                "condition": self.name,
                "control_for": self.control_for,
                "fingerprint": self.fingerprint,
                "problem": list(problems) if len(problems) else [""] * n,
                "sample": pd.array(list(samples) if len(samples) else [pd.NA] * n, dtype="Int32"),
                "metric": metric,
                "value": np.asarray(values, dtype=float),
                "unit": unit,
                "n_tokens": pd.array([counts.n_tokens if counts else pd.NA] * n, dtype="Int64"),
                "n_masked": pd.array([counts.n_masked if counts else pd.NA] * n, dtype="Int64"),
                "n_gated": pd.array([counts.n_gated if counts else pd.NA] * n, dtype="Int64"),
                "n_changed": pd.array([counts.n_changed if counts else pd.NA] * n, dtype="Int64"),
            }
        )


def write_conditions(conditions: Sequence[Condition], path: Path) -> None:
    """Write what each condition is. Raises ConfigError when two bear one name."""
    names = [condition.name for condition in conditions]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(
            f"conditions named twice: {', '.join(repeated)}", do="every condition has a name of its own"
        )
    path.write_text(json.dumps([asdict(condition) for condition in conditions]))


def read_table(path: Path) -> pd.DataFrame:
    """Read parquet. Raises CorruptFileError when it is missing, truncated or damaged."""
    try:
        return pd.read_parquet(path)
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        raise CorruptFileError(f"{path} cannot be read: {error}", do="run the experiment again") from error


def read_json(path: Path) -> Any:
    """Read JSON. Raises CorruptFileError when it is missing or damaged."""
    return read_value(path, do="run the experiment again")


def finish_results(parts: Sequence[pd.DataFrame], *, run: str, experiment: str, seed: int) -> pd.DataFrame:
    """All stages' rows as the one long table, columns in their fixed order."""
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    return table.assign(run=run, experiment=experiment, seed=seed).loc[:, list(COLUMNS)]
