"""Build a pair from its recipe: both models, then their measured truth. Resumes where it was stopped."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedModel

from reasonmech.errors import DataError, OutputError
from reasonmech.hosts import ModelPair, load_host
from reasonmech.organisms.ground_truth.truth import Effort
from reasonmech.organisms.making import make
from reasonmech.organisms.recipes import PairRecipe, recipes
from reasonmech.organisms.record import truth_record, write_truth
from reasonmech.tasks.chain import word_tokenizer

Json = dict[str, Any]


def build(
    name: str,
    out: str | Path,
    *,
    seed: int = 0,
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
    out = Path(out)
    if out.exists():
        raise OutputError(f"{out} exists already", do="choose another directory, or remove it")
    work = out.with_name(out.name + ".partial")
    work.mkdir(parents=True, exist_ok=True)
    base, made_base, base_log = make(recipe.base, work / "base", progress=progress)
    thinking, made_thinking, thinking_log = make(
        recipe.thinking, work / "thinking", base=base, progress=progress
    )
    recipe = replace(recipe, base=made_base, thinking=made_thinking)
    where = {
        role: made.shared or _save(model, work / role)
        for role, made, model in (("base", made_base, base), ("thinking", made_thinking, thinking))
    }
    (work / "pair.yaml").write_text(
        yaml.safe_dump({"name": name, **where, "task": recipe.task}, sort_keys=False)
    )
    hosts = {
        role: load_host(work / path if (work / path).is_dir() else path, name=f"{name}/{role}")
        for role, path in where.items()
    }
    logs = {"recipe": asdict(recipe) | {"requirements": None}, "base": base_log, "thinking": thinking_log}
    _write(work / "training.json", logs)
    pair = ModelPair(name, hosts["base"], hosts["thinking"], recipe.task)
    truth = truth_record(recipe, pair, effort=effort or Effort(seed=seed), progress=progress)
    write_truth(truth, work)
    for checkpoint in [*work.glob("base-*"), *work.glob("thinking-*")]:
        shutil.rmtree(checkpoint) if checkpoint.is_dir() else checkpoint.unlink()
    work.rename(out)
    unmet = [row["name"] for row in truth["requirements"] if not row["met"]]
    if unmet:
        raise DataError(
            f"{out} is complete, and its truth misses: {', '.join(unmet)}",
            do=f"read {out / 'truth.json'}; build from another seed before you use the pair as a ruler",
        )
    return out


def _save(model: PreTrainedModel, path: Path) -> str:
    """Write a model with its tokenizer; returns the directory's name."""
    if path.exists():
        shutil.rmtree(path)
    model.save_pretrained(path)
    word_tokenizer().save_pretrained(path)
    return path.name


def _write(path: Path, content: Json) -> None:
    path.write_text(json.dumps(content, indent=1, default=str) + "\n")
