"""Adapters of a pretrained model: tuned on documents of a letters world, then trained by reinforcement."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Final

from transformers import PreTrainedModel

from reasonmech.door import checked
from reasonmech.files import check_new
from reasonmech.hosts import Host
from reasonmech.hosts.adapter import Adapter, weights_of
from reasonmech.hosts.merging import merge
from reasonmech.organisms.training.checkpoint import check_checkpoint
from reasonmech.organisms.training.grpo import EntropyRecipe, GrpoRecipe, Loop, grpo
from reasonmech.organisms.training.letters_corpus import MODES, letters_data
from reasonmech.organisms.training.lora import (
    LoraShape,
    add_lora,
    merge_lora,
    round_adapters,
    save_adapter,
)
from reasonmech.organisms.training.static_decoder import StaticWriter
from reasonmech.organisms.training.tune import TuneRecipe, tune

BASE: Final = TuneRecipe(
    steps=200, rows=64, warmup=10, weight_decay=0.0, world="letters", skill_share=0.4, modes=MODES
)
"""Of a base that can step, check and notice, and mostly does not."""
BASE_SHAPE: Final = LoraShape(16, 32)
THINKING: Final = EntropyRecipe(
    seed=1, iterations=150, problems=48, lr=1e-4, max_new_tokens=176, task="letters", entropy=0.01
)
THINKING_SHAPE: Final = LoraShape(8, 16, seed=1)


@checked
def tune_adapter(
    start: Host, recipe: TuneRecipe, out: str | Path, *, shape: LoraShape = BASE_SHAPE, progress: bool = True
) -> Host:
    """Tune an adapter on documents of the recipe's letters world, and write it to the directory `out`.

    A killed training goes on from `<out>.safetensors` when it is called again; `start` stays as it is.

    Returns:
        The model with the adapter merged, as it is in the file (bfloat16).

    Raises:
        OutputError: there is such a directory, or another file where the checkpoint would be.
        DataError: the recipe's world is no letters world, or the tokenizer cannot write it.
        MismatchError: the checkpoint belongs to another recipe, model or shape of adapter.
        CorruptFileError: it cannot be read.
    """
    out = _new(out)
    model = add_lora(_frozen_copy(start), shape)
    data = letters_data(recipe, start.tokenizer)
    model, _ = tune(model, recipe, _checkpoint(out), data=data, save_every=20, progress=progress)  # type: ignore[arg-type]
    return _finish(model, start, out, shape, weights=weights_of(start.model))


@checked
def reinforce_adapter(
    base: Host,
    recipe: GrpoRecipe,
    out: str | Path,
    *,
    shape: LoraShape = THINKING_SHAPE,
    loop: Loop | None = None,
) -> Host:
    """Train an adapter of a base by GRPO, and write it to the directory `out`; resumes as `tune_adapter`.

    Args:
        loop: how the training is run; without one, rollouts are written by a `StaticDecoder`, for which the
            base must be a Llama.

    Returns:
        The model with the adapter merged, as it is in the file (bfloat16).

    Raises:
        OutputError: there is such a directory, or another file where the checkpoint would be.
        DataError: the reward stayed below the base's.
        MismatchError: the checkpoint belongs to another recipe, model or shape of adapter.
        CorruptFileError: it cannot be read.
    """
    out = _new(out)
    if loop is None:
        # prompts of the letters world have some 50 tokens
        loop = Loop(writer=StaticWriter(recipe.problems * recipe.samples, 64 + recipe.max_new_tokens))
    policy = Host(add_lora(_frozen_copy(base), shape), base.tokenizer, name="policy")
    model, _ = grpo(policy, recipe, _checkpoint(out), loop=loop)
    # a base that was merged has other last bits on another machine: its name is all that is recorded
    return _finish(model, base, out, shape)


@checked
def with_adapter(host: Host, adapter: str | Path, *, name: str) -> Host:
    """A host of its own: a copy of the model in float32 with an adapter merged into it.

    `load_host(adapter, base=)` asks what the adapter was trained from as well, and keeps the base's dtype.

    Raises:
        MismatchError: the adapter has layers that the model has not, or other shapes; it records another
            base; peft is not installed.
        CorruptFileError: there is no adapter, or it is damaged.
    """
    read = Adapter.read(Path(adapter))
    read.check_weights(host.model)
    return Host(merge(read, _frozen_copy(host)), host.tokenizer, name=name)


def _new(out: str | Path) -> Path:
    """Where an adapter is to be, with nothing of others there or beside it."""
    out = check_new(out)
    check_checkpoint(_checkpoint(out))
    return out


def _checkpoint(out: Path) -> Path:
    return out.with_name(f"{out.name}.safetensors")


def _frozen_copy(host: Host) -> PreTrainedModel:
    return copy.deepcopy(host.model).float().requires_grad_(False)


def _finish(model: PreTrainedModel, start: Host, out: Path, shape: LoraShape, *, weights: str = "") -> Host:
    """Write the adapter, and take the model on as it is in the file."""
    round_adapters(model)
    save_adapter(model, out, shape, base=start.name, weights=weights)
    _checkpoint(out).unlink()
    return Host(merge_lora(model), start.tokenizer, name=out.name)
