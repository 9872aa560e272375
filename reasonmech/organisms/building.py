"""Build a pair from its recipe: both models, then their measured truth. Resumes where it was stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from transformers import PreTrainedModel

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.files import PLAN_FILE, partial_of, write_text
from reasonmech.hosts import ModelPair, load_host
from reasonmech.organisms.ground_truth.truth import Effort
from reasonmech.organisms.making import make
from reasonmech.organisms.recipes import PairRecipe, recipes
from reasonmech.organisms.record import truth_record, write_truth
from reasonmech.organisms.training.checkpoint import is_checkpoint
from reasonmech.ranges import Seed
from reasonmech.resumable import ResumableDirectory
from reasonmech.runtime.threads import threads_of
from reasonmech.tasks.chain import word_tokenizer

Json = dict[str, Any]
# fields of a recipe that change no weight
NO_WEIGHT: Final = ("truth_class", "says", "card", "requirements", "minutes", "prompt")
CHECKPOINTS: Final = tuple(  # their whole names: what begins like one may be somebody's
    f"{role}-{number}{end}"
    for role in ("base", "thinking")
    for number in ("[0-9]", "[0-9][0-9]", "stage[0-9]", "stage[0-9][0-9]")
    for end in (".safetensors*", ".failed*", "-snapshots", ".partial")
)
# A directory that was begun before there was a plan: its checkpoints carry their recipes.
UNPLANNED: Final = (*CHECKPOINTS, "base", "thinking", "pair.yaml", "training.json", "truth.json")


@checked
def build(
    name: str,
    out: str | Path,
    *,
    seed: Seed = 0,
    recipe: PairRecipe | None = None,
    effort: Effort | None = None,
    progress: bool = True,
) -> Path:
    """Build an organism into `out`: `base/` and `thinking/` (Hugging Face checkpoints), `truth.json`,
    `training.json`.

    A model that the pair shares with another is not stored again; `pair.yaml` says where each is.

    Works in `<out>.partial`, with a checkpoint every few steps; call it again after a kill and it goes on.
    The directory gets its name only when everything in it is complete.

    Args:
        recipe: another recipe than the registered one (a shorter one, for a test).
        effort: how much is measured for the truth.

    Raises:
        UnknownNameError: no such organism.
        OutputError: `out` exists already.
        DataError: no initialisation got every skill, the reward collapsed, or the truth misses a requirement.
    """
    recipe = (recipe or recipes.get(name)).seeded(seed)
    plan = {"name": name, "recipe": weight_fields(recipe)}
    target = Path(out).expanduser()
    begun = _is_of_before(partial_of(target))
    directory = ResumableDirectory(
        target,
        plan,
        kind="organism",
        working=[*CHECKPOINTS, PLAN_FILE],
        unplanned=UNPLANNED if begun else (),
    )
    with directory.open():
        called = f"{name}-seed{seed}" if seed else name
        truth = _build(called, recipe, directory, effort=effort or Effort(seed=seed), progress=progress)
        directory.complete()
    unmet = [row["name"] for row in truth["requirements"] if not row["met"]]
    if unmet:
        raise DataError(
            f"{out} is complete, and its truth misses: {', '.join(unmet)}",
            do=f"read {directory.out}/truth.json; build from another seed before you use the pair as a ruler",
        )
    return directory.out


def _is_of_before(partial: Path) -> bool:
    """Whether an organism was begun there before there was a plan: what is called a checkpoint is one, and
    what was saved beside it is ours. A folder of models without one is somebody's."""
    named = [path for pattern in CHECKPOINTS for path in partial.glob(pattern)]
    checkpoints = [path for path in named if path.suffix == ".safetensors"]
    return bool(checkpoints) and all(map(is_checkpoint, checkpoints))


def weight_fields(recipe: PairRecipe) -> Json:
    """Everything in a recipe that decides its weights, as JSON: functions by their names."""
    fields = {name: value for name, value in asdict(recipe).items() if name not in NO_WEIGHT}
    return json.loads(json.dumps(fields, sort_keys=True, default=_function_name))


def _function_name(value: Any) -> str:
    """A function by its name; what has none does not belong in a recipe."""
    return f"{value.__module__}.{value.__qualname__}"


def _build(
    name: str, recipe: PairRecipe, directory: ResumableDirectory, *, effort: Effort, progress: bool
) -> Json:
    """Make both models, measure them, and write everything that the directory will hold; its truth."""
    work = directory.partial
    base, made_base, base_log = make(recipe.base, work / "base", progress=progress)
    thinking, made_thinking, thinking_log = make(
        recipe.thinking, work / "thinking", base=base, progress=progress
    )
    recipe = replace(recipe, base=made_base, thinking=made_thinking)
    where = {
        role: model_recipe.shared or _save(model, directory, role)
        for role, model_recipe, model in (("base", made_base, base), ("thinking", made_thinking, thinking))
    }
    named = {"name": name, **where, "task": recipe.task}
    write_text(work / "pair.yaml", yaml.safe_dump(named, sort_keys=False))
    hosts = {
        role: load_host(work / path if (work / path).is_dir() else path, name=f"{name}/{role}")
        for role, path in where.items()
    }
    logs = {"recipe": asdict(recipe) | {"requirements": None}, "base": base_log, "thinking": thinking_log}
    write_text(work / "training.json", json.dumps(logs, indent=1, default=str) + "\n")
    pair = ModelPair(name, hosts["base"], hosts["thinking"], recipe.task)
    with threads_of(pair):  # as `verify` measures it
        truth = truth_record(recipe, pair, effort=effort, progress=progress)
    write_truth(truth, work)
    return truth


def _save(model: PreTrainedModel, directory: ResumableDirectory, role: str) -> str:
    """Write a model with its tokenizer; returns the directory's name."""
    with directory.piece(role) as unfinished:
        save_model(model, unfinished)
        word_tokenizer().save_pretrained(unfinished)
    return role


def save_model(model: PreTrainedModel, directory: Path) -> None:
    """Save a model; where all its float32 weights are values of bfloat16, in half the bytes.

    Its configuration says float32, as which `load_host` then reads it: every weight comes back to the bit.
    """
    weights = model.state_dict()
    if model.dtype == torch.float32 and all(torch.equal(w, w.bfloat16().float()) for w in weights.values()):
        model.save_pretrained(directory, state_dict={name: w.bfloat16() for name, w in weights.items()})
    else:
        model.save_pretrained(directory)
