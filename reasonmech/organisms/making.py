"""Make one model of a pair: from scratch or from one that exists, then stage by stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from transformers import LlamaForCausalLM

from reasonmech.errors import ConfigError, DataError, MismatchError, SkillError
from reasonmech.hosts import Host, load_host
from reasonmech.organisms.recipes import ModelRecipe, TrainingStage
from reasonmech.organisms.training.context import ContextRecipe, distil_context
from reasonmech.organisms.training.edits import ReversedDigits, Rounded, Tempered
from reasonmech.organisms.training.grpo import GrpoRecipe, Loop, grpo
from reasonmech.organisms.training.pretrain import PretrainRecipe, pretrain
from reasonmech.organisms.training.rotation import Rotation
from reasonmech.organisms.training.skills import CHAIN_SKILLS, check_base, probe_skills
from reasonmech.organisms.training.tune import Data, TuneRecipe, corpus_data, trace_data, tune
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.tasks import grade, load_task
from reasonmech.tasks.chain import word_tokenizer

Log = list[dict[str, Any]]
ATTEMPTS: Final = (
    4  # initialisations tried: induction over two tokens arrives late in some, and in some not at all
)


def make(
    model_recipe: ModelRecipe, work: Path, *, base: LlamaForCausalLM | None = None, progress: bool = True
) -> tuple[LlamaForCausalLM, ModelRecipe, list[Log]]:
    """A model, the recipe that was really followed, and the log of its start and of every stage.

    Args:
        work: first part of the names of its checkpoints: `<work>-0.safetensors`, `<work>-stage0.safetensors`,
            ...
        base: the pair's base, where the recipe starts from it.

    Raises:
        DataError: no initialisation got every skill, or the reward collapsed.
        MismatchError: a checkpoint belongs to another recipe, or a model that exists is no Llama.
    """
    logs: list[Log] = []
    if isinstance(model_recipe.start, PretrainRecipe):
        model, log, pretraining = _pretrained(model_recipe.start, work, progress)
        model_recipe = replace(model_recipe, start=pretraining)
        logs.append(log)
    elif model_recipe.start == "base":
        if base is None:
            raise ConfigError(
                "the recipe of a base starts from a base",
                allowed="a pretraining, or a model that exists",
                do="start it from a PretrainRecipe",
            )
        model = base
    else:
        model = existing(model_recipe.start)
    for number, stage in enumerate(model_recipe.stages):
        checkpoint = work.with_name(f"{work.name}-stage{number}.safetensors")
        model, log = carry_out(stage, model, checkpoint, progress=progress)
        logs.append(log)
    return model, model_recipe, logs


def existing(path: str) -> LlamaForCausalLM:
    """A trained model, such as "organism:tiny-when/base"."""
    model = load_host(path).model
    if not isinstance(model, LlamaForCausalLM):
        raise MismatchError(
            f"{path} is a {type(model).__name__}",
            allowed="a Llama, which every organism is",
            do="start the recipe from another organism",
        )
    return model


def carry_out(
    stage: TrainingStage, model: LlamaForCausalLM, checkpoint: Path, *, progress: bool = True
) -> tuple[LlamaForCausalLM, Log]:
    """The model after one stage, and the stage's log; the model that was given stays as it is."""
    match stage:
        case GrpoRecipe():
            base = Host(model, word_tokenizer(), name="base")
            policy, log = grpo(base, stage, checkpoint, loop=Loop(progress=progress))
            assert isinstance(policy, LlamaForCausalLM)
            return policy, log
        case TuneRecipe():
            return tune(model, stage, checkpoint, data=_data(stage), progress=progress)
        case ContextRecipe():
            return distil_context(model, stage, checkpoint, progress=progress)
        case Rotation() | ReversedDigits() | Tempered() | Rounded():
            edited = stage.apply(model)
            assert isinstance(edited, LlamaForCausalLM)
            return edited, []


def _data(stage: TuneRecipe) -> Data:
    """What a tuning reads: documents, or the right rollouts of its teacher."""
    if not stage.teacher:
        return corpus_data(stage)
    problems = load_task(stage.world, n=stage.problems, seed=stage.seed, split="train")
    decode = Decode(max_new_tokens=224, temperature=1.0, seed=stage.seed, batch_size=256)
    rollouts = generate(load_host(stage.teacher), problems, decode=decode, progress=False, receipt="none")
    right = [rollout for rollout, good in zip(rollouts, grade(rollouts), strict=True) if good]
    return trace_data(stage, right)


def _pretrained(
    recipe: PretrainRecipe, work: Path, progress: bool
) -> tuple[LlamaForCausalLM, Log, PretrainRecipe]:
    """A base with every skill, its log, and the recipe of the first initialisation that got there.

    Failures are kept beside their reason.
    """
    for attempt in range(ATTEMPTS):
        failed = work.with_name(f"{work.name}-{attempt}.failed")
        if failed.exists():
            continue
        pretraining = replace(recipe, seed=recipe.seed + 1000 * attempt)
        if attempt:  # what luck did not bring the first time is drilled from the first checkpoint on
            pretraining = replace(pretraining, drill_from=0.0)
        checkpoint = work.with_name(f"{work.name}-{attempt}.safetensors")
        try:  # early in a pretraining, or at its end; any other error is one of the pretraining
            base, log = pretrain(pretraining, checkpoint, probe=CHAIN_SKILLS, progress=progress)
            check_base(probe_skills(base))
        except SkillError as error:
            failed.write_text(str(error))
        else:
            return base, log, pretraining
    reasons = "; ".join(
        path.read_text().splitlines()[0] for path in sorted(work.parent.glob(f"{work.name}-*.failed"))
    )
    raise DataError(
        f"none of {ATTEMPTS} initialisations became a base with every skill: {reasons}",
        do="pretrain longer, or from another seed: reinforcement learning on such a base collapses to "
        "guessing",
    )
