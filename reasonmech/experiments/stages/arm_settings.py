"""Settings of the stage `arms`: which arms, where and how the base is steered, what is tuned."""

from __future__ import annotations

from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from reasonmech.errors import ConfigError
from reasonmech.experiments.stages.arm_answers import ArmDecoding
from reasonmech.experiments.stages.arm_config import ArmConfig, check_controls, resolve_arms
from reasonmech.experiments.stages.arm_ingredients import is_needed
from reasonmech.experiments.stages.arm_tables import REFERENCES
from reasonmech.experiments.stages.arm_vectors import forms_among, partitions_among
from reasonmech.experiments.stages.base import Stage
from reasonmech.hybrid import ORDER, Arm, PartitionConfig, PowerConfig, VectorConfig, forms, partitions


class ArmSettings(Stage):
    """What the stage is told."""

    needs = ("rollouts",)

    @property
    def reads(self) -> tuple[str, ...]:
        """Coders and groups only where features are clamped: a hybrid of vectors needs no coder."""
        return (*self.needs, "coders", "groups") if is_needed("clamp", self.arms) else self.needs

    kind: Literal["arms"] = "arms"
    arms: tuple[str | ArmConfig, ...] = Field(
        ORDER,
        min_length=2,
        description="registered arms, base and thinking among them, and arms defined in place: "
        "{name, gate, selector, executor, control_for or no_control}",
    )
    site: str = Field("", description="where the base is steered; empty: after the pair's steering layer")
    vectors: VectorConfig = Field(
        default_factory=VectorConfig, description="how category vectors are trained"
    )
    trainings: int = Field(
        0,
        ge=0,
        description="further trainings of the category vectors, under seeds of their own, whose spread stage "
        "`nulls` measures",
    )
    no_control: dict[str, str] = Field(
        {"clamp": "random features are clamped in stage `study` only, at single moments, not by this gate"},
        description="arm -> why none of its nulls is run",
    )

    partition: PartitionConfig = Field(
        default_factory=PartitionConfig,
        description="of the arms `taxonomy`, `clusters` and `random_parts`: how many categories, and where",
    )
    prompt: str = Field(
        "", description="what the arm `prompted` gives the base: a text around {problem}; empty: none"
    )
    steps_prompt: str = Field(
        "",
        description="the same for the arm `step_by_step`: a text that asks for steps",
    )
    draft: int = Field(
        1,
        ge=1,
        description="tokens that the base writes ahead before the thinking model checks them (changes speed, "
        "and no token); 1: step by step",
    )
    shown: int = Field(4, ge=0, description="problems whose texts the report shows side by side")
    max_damage: float | None = Field(
        None,
        gt=0,
        description="most that an arm may move the next token of neutral text by (KL, nats, mean over its "
        "categories); one that moves it more is not run; empty: no bound, and the report says how much",
    )
    surprise_texts: int | None = Field(
        None,
        ge=1,
        description="texts of each arm, the first ones, that the base reads again for their surprise; "
        "empty: all",
    )
    power: PowerConfig = Field(default_factory=PowerConfig, description="how the arm `power` moves")
    rule_tuning: int = Field(
        20,
        gt=0,
        description="problems of the tuning split on which the category of each fixed rule is chosen",
    )
    clamp_strengths: tuple[float, ...] = Field(
        (1.0, 0.5), min_length=1, description="multiples of the groups' doses that the clamp is tried at"
    )
    tuning: int = Field(
        40,
        gt=0,
        description="problems of the tuning split on which coder and strength of the clamp are chosen, and a "
        "clamp that runs away is refused",
    )

    @model_validator(mode="after")
    def _controlled(self) -> Self:
        missing = [name for name in REFERENCES if name not in self.resolved]
        if missing:
            raise ConfigError(
                f"arms without {', '.join(missing)}", do="recovery is measured between these two"
            )
        check_controls(self.arms, self.no_control)
        for form in forms_among(self.arms):
            forms.get(form)
        for kind in partitions_among(self.arms):
            partitions.get(kind)
        if self.trainings and self.vectors.form == "scaled":
            raise ConfigError(
                f"{self.trainings} further trainings of vectors that are scaled",
                allowed="trainings: 0 beside form: scaled: of further trainings the vectors alone are kept",
                do="take the best of several instead: vectors: {best_of: 3}",
            )
        return self

    @cached_property
    def resolved(self) -> dict[str, Arm]:
        """Name -> arm, in the order of the configuration."""
        return resolve_arms(self.arms)

    @property
    def decoding(self) -> ArmDecoding:
        """How hybrids decode."""
        return ArmDecoding(self.draft, self.max_damage)
