"""Build a pair from scratch: pretrain, check, reinforce, measure its truth. Resumes where it was stopped."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from transformers import LlamaForCausalLM, PreTrainedModel

from reasonmech.errors import DataError, OutputError
from reasonmech.hosts import Host, load_host
from reasonmech.organisms.grpo import grpo
from reasonmech.organisms.pretrain import PretrainRecipe, pretrain
from reasonmech.organisms.probe import probe_skills
from reasonmech.organisms.recipes import PairRecipe, check_base, check_progress, is_ready, recipes
from reasonmech.organisms.truth import measure_truth
from reasonmech.tasks import Split, load_task
from reasonmech.tasks.chain import word_tokenizer

Json = dict[str, Any]
ATTEMPTS: Final = 4  # initialisations tried: induction over two tokens arrives late in some, and in some not at all


def build(
    name: str,
    out: str | Path,
    *,
    seed: int = 0,
    recipe: PairRecipe | None = None,
    problems: int = 500,
    split: Split = "confirmation",
    progress: bool = True,
) -> Path:
    """Build an organism into `out`: `base/` and `thinking/` (Hugging Face checkpoints), `truth.json`, `training.json`.

    Works in `<out>.partial`, with a checkpoint every few steps; call it again after a kill and it goes on. The
    directory gets its name only when everything in it is complete.

    Args:
        recipe: another recipe than the registered one (a shorter one, for a test).
        problems, split: on which the truth is measured.

    Raises:
        UnknownNameError: no such organism.
        OutputError: `out` exists already.
        DataError: no initialisation got every skill, or the reward collapsed.
    """
    recipe = (recipe or recipes.get(name)).seeded(seed)
    out = Path(out)
    if out.exists():
        raise OutputError(f"{out} exists already", do="choose another directory, or remove it")
    work = out.with_name(out.name + ".partial")
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = word_tokenizer()
    base, base_log, pretraining = _base(recipe, work, progress)
    recipe = replace(recipe, pretrain=pretraining)
    skills = probe_skills(base)
    thinking, grpo_log = grpo(base, tokenizer, recipe.grpo, work / "thinking.safetensors", progress=progress)
    for role, model in (("base", base), ("thinking", thinking)):
        _save(model, work / role)
        tokenizer.save_pretrained(work / role)
    hosts = {role: load_host(work / role, name=f"{name}/{role}") for role in ("base", "thinking")}
    _write(
        work / "training.json", {"recipe": asdict(recipe) | {"requirements": None}, "base": base_log, "grpo": grpo_log}
    )
    truth = _truth(name, recipe, hosts, skills, seed=seed, n=problems, split=split, progress=progress)
    _write(work / "truth.json", truth)
    for checkpoint in [*work.glob("base-*"), work / "thinking.safetensors"]:
        checkpoint.unlink()
    work.rename(out)
    unmet = [row["name"] for row in truth["requirements"] if not row["met"]]
    if unmet:
        raise DataError(
            f"{out} is complete, and its truth misses: {', '.join(unmet)}",
            do=f"read {out / 'truth.json'}; build from another seed before you use the pair as a ruler",
        )
    return out


def _base(recipe: PairRecipe, work: Path, progress: bool) -> tuple[LlamaForCausalLM, list[Json], PretrainRecipe]:
    """A base with every skill, its log, and the recipe of the first initialisation that got there.

    Failures are kept beside their reason.
    """
    for attempt in range(ATTEMPTS):
        failed = work / f"base-{attempt}.failed"
        if failed.exists():
            continue
        pretraining = replace(recipe.pretrain, seed=recipe.pretrain.seed + 1000 * attempt)
        if attempt:  # what luck did not bring the first time is drilled from the first checkpoint on
            pretraining = replace(pretraining, drill_from=0.0)
        try:
            base, log = pretrain(
                pretraining,
                work / f"base-{attempt}.safetensors",
                progress=progress,
                probe=probe_skills,
                watch=check_progress,
                ready=is_ready,
            )
            check_base(probe_skills(base))
            return base, log, pretraining
        except DataError as error:
            failed.write_text(str(error))
    reasons = "; ".join(path.read_text().splitlines()[0] for path in sorted(work.glob("base-*.failed")))
    raise DataError(
        f"none of {ATTEMPTS} initialisations became a base with every skill: {reasons}",
        do="pretrain longer, or from another seed: reinforcement learning on such a base collapses to guessing",
    )


def _truth(
    name: str,
    recipe: PairRecipe,
    hosts: dict[str, Host],
    skills: Json,
    *,
    seed: int,
    n: int,
    split: Split,
    progress: bool,
) -> Json:
    """Measured on the saved checkpoints, so after rounding to the shipped dtype."""
    measured = measure_truth(
        hosts["base"], hosts["thinking"], load_task("chain", n=n, seed=seed, split=split), seed=seed, progress=progress
    )
    rows = recipe.requirements(measured)
    return {
        "name": name,
        "class": recipe.truth_class,
        "card": recipe.card,
        "seed": seed,
        "split": split,
        "reasonmech": version("reasonmech"),
        "weights": {role: host.weight_hash for role, host in hosts.items()},
        "requirements": [row._asdict() | {"met": row.met} for row in rows],
        "skills": skills,
        "measured": measured,
    }


def _save(model: PreTrainedModel, path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
    model.save_pretrained(path)


def _write(path: Path, content: Json) -> None:
    path.write_text(json.dumps(content, indent=1, default=str) + "\n")
