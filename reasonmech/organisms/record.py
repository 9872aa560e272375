"""truth.json: what was measured of a pair, beside the hashes of the weights that it was measured on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from reasonmech.errors import CorruptFileError
from reasonmech.files import write_text
from reasonmech.hosts import ModelPair
from reasonmech.json_text import check_shape, read_value
from reasonmech.organisms.ground_truth.dial_table import measure_dial
from reasonmech.organisms.ground_truth.intervals import with_intervals
from reasonmech.organisms.ground_truth.truth import Effort, measure_prompted, measure_truth
from reasonmech.organisms.recipes import PairRecipe
from reasonmech.organisms.training.skills import probe_skills
from reasonmech.tasks import load_task, tasks
from reasonmech.tasks.chain import Chain
from reasonmech.versions import version_of

Json = dict[str, Any]
TRUTH_FILE: Final = "truth.json"
NEEDED: Final = (
    "name",
    "class",
    "card",
    "seed",
    "split",
    "effort",
    "weights",
    "requirements",
    "measured",
    "dial",
)
MEASURED: Final = ("task", "n_problems", "seed", "base", "thinking", "splice", "outcomes")
_NUMBER: Final = (float, type(None))
_INTERVAL: Final = {"estimate": float, "low": float, "high": float}
_RATE: Final = {"estimate": _NUMBER}  # with its interval, unless there was nothing to count
_MODEL: Final = {
    "greedy": {"accuracy": _RATE},
    "sampled": {"accuracy": _RATE, "slips_undone": _RATE, "onset": {"check": _RATE, "*": _RATE}},
}
_BY_ROLE: Final = {"base": str, "thinking": str}
_SHAPE: Final = {
    "name": str,
    "class": str,
    "card": str,
    "seed": int,
    "split": str,
    "effort": dict,
    "weights": _BY_ROLE,
    "requirements": [{"name": str, "value": _NUMBER, "low": float, "high": float, "met": bool}],
    "measured": {
        "task": str,
        "n_problems": int,
        "seed": int,
        "base": _MODEL,
        "thinking": _MODEL,
        "splice": {"*": _RATE},
        "outcomes": {"greedy": _BY_ROLE, "spliced": {"*": str}, "*": (str, dict)},
        "execution": {"*": {"base": _RATE, "thinking": _RATE}},
    },
    "dial": [{"factor": str, "share": float, "other": str, "accuracy": float, "low": float, "high": float}],
}


def truth_record(
    recipe: PairRecipe, pair: ModelPair, *, effort: Effort | None = None, progress: bool = True
) -> Json:
    """Measure a pair on its task: what `truth.json` holds. Measured on loaded checkpoints, so after
    rounding."""
    effort = effort or Effort()
    problems = load_task(recipe.task, n=effort.problems, seed=effort.seed, split=effort.split)
    measured = measure_truth(pair.base, pair.thinking, problems, effort=effort, progress=progress)
    if recipe.prompt:
        measured["prompted"] = measure_prompted(pair.base, problems, recipe.prompt, effort=effort)
    return {
        "name": pair.name,
        "class": recipe.truth_class,
        "card": recipe.card,
        "seed": effort.seed,
        "split": effort.split,
        "effort": asdict(effort),
        "reasonmech": version_of("reasonmech"),
        "weights": {"base": pair.base.weight_hash, "thinking": pair.thinking.weight_hash},
        "requirements": [row._asdict() | {"met": row.met} for row in recipe.requirements(measured)],
        "skills": probe_skills(pair.base.model) if isinstance(tasks.get(recipe.task), Chain) else {},
        "measured": measured,
        "dial": measure_dial(pair, problems[: effort.dialled], progress=progress),
    }


def write_truth(truth: Json, directory: Path) -> None:
    """Write `truth.json` in one rename."""
    write_text(directory / TRUTH_FILE, json.dumps(truth, indent=1, default=str) + "\n")


def read_truth(directory: Path) -> Json:
    """What `truth.json` of a pair's directory says, with the intervals that its counts warrant.

    Raises:
        CorruptFileError: it is missing, no JSON, or lacks a part.
    """
    path = directory / TRUTH_FILE
    if not path.is_file():
        raise CorruptFileError(
            f"{path} is missing: nothing is known about this pair",
            do="build the pair again with `reasonmech organisms build`, which measures its truth",
        )
    truth = read_value(path, do="copy it again, or build the pair again")
    truth = truth if isinstance(truth, dict) else {}
    missing = [name for name in NEEDED if name not in truth]
    measured = truth.get("measured", {})
    missing += [
        f"measured.{name}" for name in MEASURED if isinstance(measured, dict) and name not in measured
    ]
    if missing:
        raise CorruptFileError(
            f"{path} lacks {', '.join(missing)}", do="build the pair again, which measures its truth"
        )
    try:
        check_shape(truth, _SHAPE)
        for row in _rates(measured):
            if row["estimate"] is not None:
                check_shape(row, _INTERVAL, at="of an estimate")
    except ValueError as error:
        raise CorruptFileError(
            f"{path} says {error}",
            allowed="what `reasonmech organisms build` wrote",
            do="copy it again, or build the pair again",
        ) from error
    return truth | {"measured": with_intervals(truth["measured"])}


def _rates(node: Json) -> Iterator[Json]:
    """Every part of what was measured that has an estimate."""
    if "estimate" in node:
        yield node
    for value in node.values():
        if isinstance(value, dict):
            yield from _rates(value)
