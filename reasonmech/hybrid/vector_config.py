"""VectorConfig: how category vectors are optimised."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from reasonmech.hybrid.vector_forms import forms
from reasonmech.ranges import Seed
from reasonmech.settings import Settings


class VectorConfig(Settings):
    """How category vectors are optimised."""

    steps: int = Field(
        default=300, ge=1, description="AdamW steps, each on the disagreements of one batch of rollouts"
    )
    lr: float = Field(default=0.03, gt=0, description="its learning rate, residual-norm units")
    batch_rollouts: int = Field(default=16, ge=1, description="rollouts per step")
    max_rows: int = Field(default=512, ge=1, description="disagreements per step, at most; bounds memory")
    min_count: int = Field(default=8, ge=1, description="disagreements below which a category gets no vector")
    held_out: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="share of the problems left out: for the agreement report, for patience and best_of",
    )
    seed: Seed = Field(default=0, description="of the order of batches, and of the network of form scaled")
    by: Literal["token", "kind"] = Field(
        default="token",
        description="what the models are compared by, and what the base is to write: the thinking model's "
        "token, or a sentence of its kind, in whichever first word",
    )
    form: str = Field(
        default="vectors",
        description="vectors: one per category; shared: one for all; bias: both, added; scaled: as much of "
        "each category's as a network reads off the stream",
    )
    keys: Literal["isolated", "leaking"] = Field(
        default="isolated",
        description="whether later positions read a steered one's keys and values in training; leaking is "
        "the published way, and no decoding is so",
    )
    balanced: bool = Field(default=False, description="every category weighs the same in a step")
    scale_lr: float = Field(default=1e-3, gt=0, description="learning rate of the network of form scaled")
    weight_decay: float = Field(default=0.0, ge=0, description="of AdamW; 0: Adam")
    patience: int = Field(
        default=0,
        ge=0,
        description="rounds without a better loss on held-out problems after which a training ends, at its "
        "best round; 0: all steps are taken",
    )
    best_of: int = Field(
        default=1,
        ge=1,
        description="trainings under seeds of their own; the one that agrees most on held-out "
        "problems is taken",
    )

    @field_validator("form")
    @classmethod
    def _is_registered(cls, form: str) -> str:
        forms.get(form)
        return form

    def seeds(self) -> list[int]:
        """Of the trainings of which the best is taken."""
        return [self.seed + 1000 * i for i in range(self.best_of)]
