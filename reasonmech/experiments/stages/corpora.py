"""Plain text that a base model reads besides rollouts: what it was trained on, where that can be written
afresh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from reasonmech.errors import ConfigError
from reasonmech.organisms.recipes import recipes
from reasonmech.organisms.training.corpus import Modes, draw_documents
from reasonmech.organisms.training.pretrain import PretrainRecipe
from reasonmech.organisms.training.tune import TuneRecipe
from reasonmech.registry import Registry
from reasonmech.tasks.chain.world import CHAIN, WORLDS, World

OWN: Final = "own"  # not a corpus, but the one of the pair
_WORLDS: Final = {world.name: world for world in WORLDS}

corpora: Registry[Callable[[int, int], list[str]]] = Registry("corpus")


@corpora.register("chain")
def chain(n: int, seed: int) -> list[str]:
    """Fresh documents of the corpus that chain organisms were pretrained on."""
    return list(draw_documents(seed, n))


@corpora.register("none")
def none(n: int, seed: int) -> list[str]:
    """No text besides the rollouts."""
    return []


class _Source(NamedTuple):
    """A chain world, and how often its authors do what."""

    world: World
    modes: Modes


def check_corpus(corpus: str, pair: str, task: str) -> None:
    """Refuse documents of another world than the run's.

    Raises:
        UnknownNameError: no such corpus.
        ConfigError: "chain" for a task of another world, or "own" for a task of no chain world.
    """
    if corpus == OWN:
        _own(pair, task)
    elif corpora.get(corpus) is chain and task != CHAIN.name:
        raise ConfigError(
            f"corpus {corpus!r} holds documents of task {CHAIN.name!r}, and the run's is {task!r}",
            allowed=f"{OWN}, the documents that the pair's base was trained on; none; or one of yours",
            do=f"corpus: {OWN}",
        )


def draw_corpus(corpus: str, pair: str, task: str, *, n: int, seed: int) -> list[str]:
    """Fresh documents. Raises what `check_corpus` does."""
    check_corpus(corpus, pair, task)
    if corpus != OWN:
        return corpora.get(corpus)(n, seed)
    world, modes = _own(pair, task)
    return list(draw_documents(seed, n, modes=modes, world=world))


def _own(pair: str, task: str) -> _Source:
    """The documents that a pair's base was trained on last: as its recipe says, if it is an organism; else
    those of the world that the task is of."""
    if pair in recipes.kinds():
        return _trained_on(pair, "base")
    if task not in _WORLDS:
        raise ConfigError(
            f"nobody knows what the base of pair {pair!r} was trained on: task {task!r} is of no chain world",
            allowed=f"tasks {', '.join(_WORLDS)}; or a corpus: {', '.join(corpora.kinds())}",
            do="corpus: none, or register a corpus of your own",
        )
    return _Source(_WORLDS[task], Modes())


def _trained_on(pair: str, role: str) -> _Source:
    """What a model of an organism read last that was no rollout."""
    recipe = recipes.get(pair).base if role == "base" else recipes.get(pair).thinking
    tunings = [stage for stage in recipe.stages if isinstance(stage, TuneRecipe) and not stage.teacher]
    if tunings:
        return _Source(_WORLDS[tunings[-1].world], tunings[-1].modes)
    if isinstance(recipe.start, PretrainRecipe):
        return _Source(CHAIN, Modes())
    if recipe.start == "base":
        return _trained_on(pair, "base")
    return _trained_on(*recipe.start.removeprefix("organism:").split("/"))
