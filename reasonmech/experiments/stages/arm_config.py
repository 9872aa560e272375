"""Which arms a run decodes: registered ones by name, others as a choice of parts in the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import Field, model_validator

from reasonmech.errors import ConfigError
from reasonmech.hybrid import Arm, HybridConfig, arms
from reasonmech.paths import check_name
from reasonmech.settings import Settings


class ArmConfig(Settings):
    """An arm that a configuration defines in place; a part that is left out is that of the arm `full`.

    >>> {name: coin, gate: {kind: random, rate: 0.03}, control_for: full}
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="of the arm; no registered arm bears it")
    gate: dict[str, Any] | None = Field(None, description="registered kind of gate, with its settings")
    selector: dict[str, Any] | None = Field(None, description="registered kind of selector")
    executor: dict[str, Any] | None = Field(None, description="registered kind of executor")
    control_for: str = Field("", description="the arm that it is a null for")
    no_control: str = Field("", description="why none of its nulls is run")

    @model_validator(mode="after")
    def _parts_exist(self) -> Self:
        HybridConfig.from_mapping(self.parts)
        if self.control_for and self.no_control:
            raise ConfigError(
                f"arm {self.name!r} is a null of {self.control_for!r} and gives a reason for having none",
                allowed="control_for or no_control",
            )
        return self

    @property
    def parts(self) -> dict[str, Any]:
        named = {"gate": self.gate, "selector": self.selector, "executor": self.executor}
        return {name: part for name, part in named.items() if part is not None}

    @property
    def opens_as_often_as_full(self) -> bool:
        """Whether its gate is random at the rate of `full`, or at its times, so that `full` has to be run."""
        gate = self.gate or {}
        matched = gate.get("kind") == "random" and gate.get("rate", "matched") == "matched"
        return matched or gate.get("kind") in ("shuffled", "other_problem")

    def arm(self) -> Arm:
        return Arm(HybridConfig.from_mapping(self.parts).build, self.control_for, self.no_control)


def resolve_arms(chosen: Sequence[str | ArmConfig]) -> dict[str, Arm]:
    """Name -> arm, in order.

    Raises:
        UnknownNameError: a name that nobody registered. ConfigError: two arms of one name.
    """
    resolved: dict[str, Arm] = {}
    for choice in chosen:
        name = choice if isinstance(choice, str) else choice.name
        check_name(name, what="arm")  # its rollouts are a file called like it
        if name in resolved or (not isinstance(choice, str) and name in arms.kinds()):
            raise ConfigError(
                f"two arms are called {name!r}",
                do="give each a name of its own, which no registered arm bears: " + ", ".join(arms.kinds()),
            )
        resolved[name] = arms.get(choice) if isinstance(choice, str) else choice.arm()
    return resolved


def check_controls(chosen: Sequence[str | ArmConfig], no_control: Mapping[str, str]) -> None:
    """Every arm is run beside a null, is one, or says why it has none.

    Args:
        no_control: arm -> why none of its nulls is run.

    Raises:
        ConfigError: a null without its arm, an arm without a null, or a rate that nothing sets.
    """
    resolved = resolve_arms(chosen)
    for name, arm in resolved.items():
        if arm.control_for and arm.control_for not in resolved:
            raise ConfigError(
                f"arm {name!r} is a null of {arm.control_for!r}, which is not run", do="run both, or neither"
            )
    nulls_run = {arm.control_for for arm in resolved.values()}
    for choice in chosen:
        name = choice if isinstance(choice, str) else choice.name
        if name in nulls_run or no_control.get(name) or resolved[name].no_control:
            continue
        if isinstance(choice, ArmConfig):
            if not choice.control_for:
                raise ConfigError(
                    f"arm {name!r} runs without a control",
                    allowed=f"an arm with control_for: {name}, or its own control_for, or no_control: reason",
                )
        elif nulls := [kind for kind in arms.kinds() if arms.get(kind).control_for == name]:
            raise ConfigError(
                f"arm {name!r} runs without a control",
                allowed=f"one of {', '.join(nulls)}, or no_control: {{{name}: reason}}",
            )
    for choice in chosen:
        if isinstance(choice, ArmConfig) and choice.opens_as_often_as_full and "full" not in resolved:
            raise ConfigError(
                f"the gate of arm {choice.name!r} opens as often as `full` steers, which is not run",
                do="run full as well, or give the gate a rate",
            )
