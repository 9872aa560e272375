"""truth.json: what was measured of a pair, beside the hashes of the weights that it was measured on."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from reasonmech.errors import CorruptFileError
from reasonmech.files import write_text
from reasonmech.hosts import ModelPair
from reasonmech.organisms.ground_truth.dial_table import measure_dial
from reasonmech.organisms.ground_truth.intervals import with_intervals
from reasonmech.organisms.ground_truth.truth import Effort, measure_truth
from reasonmech.organisms.recipes import PairRecipe
from reasonmech.organisms.training.skills import probe_skills
from reasonmech.tasks import load_task

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
DIALLED: Final = 200  # problems on which the dial is tabulated


def truth_record(
    recipe: PairRecipe, pair: ModelPair, *, effort: Effort | None = None, progress: bool = True
) -> Json:
    """Measure a pair on its task: what `truth.json` holds. Measured on loaded checkpoints, so after
    rounding."""
    effort = effort or Effort()
    problems = load_task(recipe.task, n=effort.problems, seed=effort.seed, split=effort.split)
    measured = measure_truth(pair.base, pair.thinking, problems, effort=effort, progress=progress)
    return {
        "name": pair.name,
        "class": recipe.truth_class,
        "card": recipe.card,
        "seed": effort.seed,
        "split": effort.split,
        "effort": asdict(effort),
        "reasonmech": version("reasonmech"),
        "weights": {"base": pair.base.weight_hash, "thinking": pair.thinking.weight_hash},
        "requirements": [row._asdict() | {"met": row.met} for row in recipe.requirements(measured)],
        "skills": probe_skills(pair.base.model),
        "measured": measured,
        "dial": measure_dial(pair, problems[:DIALLED], progress=progress),
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
    try:
        truth = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(
            f"{path} is not JSON: {error}", do="copy it again, or build the pair again"
        ) from error
    missing = [name for name in NEEDED if name not in truth] if isinstance(truth, dict) else list(NEEDED)
    missing += [] if missing else [f"measured.{name}" for name in MEASURED if name not in truth["measured"]]
    if missing:
        raise CorruptFileError(
            f"{path} lacks {', '.join(missing)}", do="build the pair again, which measures its truth"
        )
    return truth | {"measured": with_intervals(truth["measured"])}
