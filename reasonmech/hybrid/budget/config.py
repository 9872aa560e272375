"""BudgetConfig: what is ranked, how much is spent, in which direction."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from reasonmech.errors import ConfigError
from reasonmech.hybrid.budget.scores import scores
from reasonmech.ranges import InnerShare, Positive, Seed
from reasonmech.settings import Settings

Writer = Literal["base", "thinking"]
RANDOM: Final = "random"
MATCHED: Final = "entropy_matched"  # the null that has no score: as often in each decile of entropy as MODEL
MODEL: Final = "divergence"
OTHER: Final = "other model's"
SECOND: Final = "own second"


class BudgetConfig(Settings):
    """What is ranked, how much is spent, in which direction."""

    rankings: tuple[str, ...] = Field(
        (MODEL, "log_ratio", "entropy", "kinds", MATCHED),
        min_length=1,
        description="scores that rank the disagreements (registered, or entropy_matched); random is added",
    )
    shares: tuple[InnerShare, ...] = Field(
        (0.125, 0.25, 0.5, 0.75), min_length=1, description="of disagreements, rising; none and all are added"
    )
    writers: tuple[Writer, ...] = Field(
        ("base", "thinking"),
        min_length=1,
        description="who writes: base (do the other one's tokens suffice?), thinking (are its own needed?)",
    )
    second_choice: tuple[str, ...] = Field(
        (MODEL,), description="rankings with which the writer's own second choice is written as well: a null"
    )
    draws: Positive = Field(2, description="draws of random and entropy_matched, of which the mean is taken")
    seed: Seed = 0

    @field_validator("rankings", "second_choice")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name != MATCHED:
                scores.get(name)
        kept = tuple(dict.fromkeys(name for name in names if name != RANDOM))
        if names and not kept:
            raise ValueError("nothing but random; allowed: a ranking to hold against it, such as divergence")
        return kept

    @model_validator(mode="after")
    def _second_choices_are_ranked(self) -> Self:
        unranked = [name for name in self.second_choice if name not in self.rankings]
        if unranked and "second_choice" in self.model_fields_set:
            raise ConfigError(
                f"second_choice {', '.join(unranked)} is not among the rankings",
                allowed=", ".join(self.rankings),
            )
        return self

    @property
    def second_choices(self) -> tuple[str, ...]:
        """Those of the rankings with which the writer's own second choice is written as well."""
        return tuple(name for name in self.second_choice if name in self.rankings and name != MATCHED)

    @field_validator("shares")
    @classmethod
    def _rise(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if sorted(set(shares)) != list(shares):
            raise ValueError(f"shares {list(shares)}; allowed: rising ones, such as [0.25, 0.5]")
        return shares
