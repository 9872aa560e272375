"""The documents that a pair's base was trained on, drawn afresh."""

from __future__ import annotations

from typing import Final, NamedTuple

from reasonmech.organisms.recipes import recipes
from reasonmech.organisms.training.corpus import Modes, draw_documents
from reasonmech.organisms.training.pretrain import PretrainRecipe
from reasonmech.organisms.training.tune import TuneRecipe
from reasonmech.tasks.chain.world import CHAIN, WORLDS, World

PRETRAINING_WORLD: Final = (
    CHAIN.name
)  # the task whose documents `draw_documents` draws where no world is named
_WORLDS: Final = {world.name: world for world in WORLDS}
WORLD_NAMES: Final = tuple(_WORLDS)  # tasks whose documents can be drawn


class OwnDocuments(NamedTuple):
    """A chain world, and how often its authors do what."""

    world: World
    modes: Modes

    def draw(self, n: int, seed: int) -> list[str]:
        """`n` fresh documents."""
        return list(draw_documents(seed, n, modes=self.modes, world=self.world))


def own_documents(pair: str, task: str) -> OwnDocuments | None:
    """What a pair's base was trained on last: as its recipe says, if it is an organism; else the documents of
    the world that the task is of, None where it is of none.
    """
    if pair in recipes.kinds():
        return _trained_on(pair, "base")
    return OwnDocuments(_WORLDS[task], Modes()) if task in _WORLDS else None


def _trained_on(pair: str, role: str) -> OwnDocuments:
    """What a model of an organism read last that was no rollout."""
    recipe = recipes.get(pair).base if role == "base" else recipes.get(pair).thinking
    tunings = [stage for stage in recipe.stages if isinstance(stage, TuneRecipe) and not stage.teacher]
    if tunings:
        return OwnDocuments(_WORLDS[tunings[-1].world], tunings[-1].modes)
    if isinstance(recipe.start, PretrainRecipe):
        return OwnDocuments(CHAIN, Modes())
    if recipe.start == "base":
        return _trained_on(pair, "base")
    return _trained_on(*recipe.start.removeprefix("organism:").split("/"))
