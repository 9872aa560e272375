"""What an organism is made of: how each of its two models is made, and what its measured truth must show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from reasonmech.door import checked
from reasonmech.organisms.ground_truth.requirements import Requirement
from reasonmech.organisms.training.context import ContextRecipe
from reasonmech.organisms.training.edits import WeightEdit
from reasonmech.organisms.training.grpo import GrpoRecipe
from reasonmech.organisms.training.pretrain import PretrainRecipe
from reasonmech.organisms.training.tune import TuneRecipe
from reasonmech.ranges import Seed
from reasonmech.registry import Registry

Json = dict[str, Any]
TrainingStage = TuneRecipe | GrpoRecipe | ContextRecipe | WeightEdit


@dataclass(frozen=True)
class ModelRecipe:
    """How one model is made.

    Attributes:
        start: a pretraining; or a model that exists, such as "organism:tiny-when/base"; or "base", the pair's
            own base (then there are stages).
        stages: trainings that follow, in order. Without any, a model that exists is shared, not stored again.
    """

    start: PretrainRecipe | str = "base"
    stages: tuple[TrainingStage, ...] = ()

    @property
    def shared(self) -> str | None:
        """Where the weights are, of a model that is not stored again."""
        return self.start if isinstance(self.start, str) and not self.stages else None

    def seeded(self, seed: int) -> ModelRecipe:
        start = self.start if isinstance(self.start, str) else replace(self.start, seed=seed)
        return ModelRecipe(start, tuple(replace(stage, seed=seed) for stage in self.stages))


@checked
@dataclass(frozen=True)
class PairRecipe:
    """A base and a thinking model.

    Attributes:
        truth_class: what a correct instrument concludes ("when": reinforcement learning taught when).
        says: that conclusion in one line.
        card: how it was built, what a correct instrument says, which published rule it fools and why.
        task: on which the two are compared.
        prompt: words under which the base by itself does what the thinking model does; the truth then says
            how nearly ("": none are known).
        minutes: that building it took on two cores, its truth included.
        requirements: what the measured truth must show before the pair is shipped.
    """

    truth_class: str
    says: str
    card: str
    requirements: Callable[[Json], list[Requirement]]
    base: ModelRecipe = field(default_factory=lambda: ModelRecipe(PretrainRecipe()))
    thinking: ModelRecipe = field(default_factory=lambda: ModelRecipe("base", (GrpoRecipe(),)))
    task: str = "chain"
    minutes: float = 30.0
    prompt: str = ""

    @checked
    def seeded(self, seed: Seed) -> PairRecipe:
        return replace(self, base=self.base.seeded(seed), thinking=self.thinking.seeded(seed))


recipes: Registry[PairRecipe] = Registry("organism")
