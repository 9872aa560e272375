"""Configurations: the named plans that a sweep tries, and grids of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal, TypeAlias, final, get_args

from reasonmech.arguments import as_sequence, check_type, describe
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, DataError, UnknownNameError
from reasonmech.interventions.axes import Axis
from reasonmech.interventions.gates import ALWAYS, Gate
from reasonmech.interventions.intervention import Intervention, plan_fingerprint
from reasonmech.interventions.masks import EVERYWHERE, Where
from reasonmech.interventions.verbs import ablate, clamp, scale, steer
from reasonmech.ranges import Seed

Draw: TypeAlias = Callable[[int], Axis]
Verb: TypeAlias = Literal["ablate", "clamp", "scale", "steer"]

IDENTITY: Final = {"scale": 1.0, "steer": 0.0}  # amounts that are meant to change nothing: a dose of zero
CLEAN: Final = "clean"  # the configuration without a plan that every other one is compared with


@checked
@final
@dataclass(frozen=True, eq=False)
class Configuration:
    """One plan of a sweep under a name. A name that begins with "random" is drawn as a control.

    Attributes:
        name: what tables and errors call it; unique in a sweep.
        plan: interventions, applied in order.
        axis, where: what its grid calls the axis and the mask.
        amount: of the edit, in the axis' own units; NaN where the edit has none, or more than a number.
        seed: that a random axis was drawn with; None where nothing was drawn.

    Raises:
        DataError: an empty plan, or a name that is empty or "clean".
    """

    name: str
    plan: tuple[Intervention, ...]
    axis: str = ""
    where: str = ""
    amount: float = math.nan
    seed: int | None = None

    def __post_init__(self) -> None:
        plan = as_sequence(
            self.plan, Intervention, name="plan", allowed="interventions: [rm.steer(...), ...]"
        )
        object.__setattr__(self, "plan", tuple(plan))
        check_type(self.name, str, name="the name of a configuration", allowed="a text")
        if not self.plan:
            raise DataError(
                f"configuration {self.name!r} has an empty plan",
                do="leave it out: the clean run is part of every sweep",
            )
        if self.name in ("", CLEAN):
            raise DataError(
                f"a configuration called {self.name!r}", allowed=f"any other name: {CLEAN!r} is taken"
            )

    @property
    def site(self) -> str:
        """Where it edits, in the order of the plan."""
        return " + ".join(dict.fromkeys(str(intervention.site) for intervention in self.plan))

    @property
    def verb(self) -> str:
        return " + ".join(dict.fromkeys(intervention.verb for intervention in self.plan))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the plan, whatever it is called."""
        return plan_fingerprint(self.plan)


def grid(
    axes: Mapping[str, Axis | Draw],
    verb: Verb,
    *,
    amounts: Sequence[float] | float = (),
    where: Where | Mapping[str, Where] = EVERYWHERE,
    when: Gate = ALWAYS,
    seeds: Sequence[Seed] | Seed = (),
) -> list[Configuration]:
    """Every axis with every amount at every mask, and drawn axes with every seed. Grids can be added.

    Args:
        axes: name -> axis, or a function that draws one from a seed, such as a random direction: a control.
        verb: "ablate", "clamp", "scale" or "steer".
        amounts: units of the axis; empty for "ablate", which has none, and at least one for the others.
        where: one mask, or name -> mask.
        when: gate of all of them.
        seeds: what the drawn axes are drawn with; at least one where there is such an axis, else none.

    Raises:
        ArgumentError: something of another type.
        DataError: nothing to vary, amounts or seeds that are missing, superfluous, repeated or not finite.
        BindError: the verb has no meaning on an axis.
    """
    if verb not in get_args(Verb):
        raise UnknownNameError("verb", str(verb), get_args(Verb), do="other plans: Configuration(name, plan)")
    masks = where if isinstance(where, Mapping) else {str(where): where}
    amounts = as_sequence(amounts, (int, float), name="amounts", allowed="numbers, in units of the axis")
    seeds = as_sequence(seeds, int, name="seeds", allowed="whole numbers, one per draw")
    _check_types(axes, masks, when)
    drawn = [name for name, axis in axes.items() if not isinstance(axis, Axis)]
    _check(axes, verb, amounts, masks, seeds, drawn)
    configurations = []
    for name, axis_or_draw in axes.items():
        for seed in seeds if name in drawn else (None,):
            axis = axis_or_draw if isinstance(axis_or_draw, Axis) else _draw(axis_or_draw, seed)
            for amount in amounts or (math.nan,):
                edited = _edit(axis, verb, amount, when)
                for mask_name, mask in masks.items():
                    parts = [name, f"{verb} {amount:g}" if amounts else verb]
                    parts += [mask_name] * (len(masks) > 1) + [f"seed {seed}"] * (name in drawn)
                    plan = (replace(edited, where=mask),)
                    configurations.append(
                        Configuration(" · ".join(parts), plan, name, mask_name, amount, seed)
                    )
    return configurations


def _check_types(axes: Mapping[str, Axis | Draw], masks: Mapping[str, Where], when: Gate) -> None:
    an_axis = "a Direction, Features or Subspace, or a function that draws one from a seed"
    named = 'rm.grid({"check": direction}, "steer", amounts=(2.0, 4.0))'
    check_type(axes, Mapping, name="axes", allowed=f"name -> {an_axis}", do=named)
    for name, axis in axes.items():
        if not isinstance(axis, Axis) and (isinstance(axis, type) or not callable(axis)):
            raise ArgumentError(f"axis {name!r} is {describe(axis)}", allowed=an_axis, do=named)
    for name, mask in masks.items():
        check_type(mask, Where, name=f"mask {name!r}", allowed="a mask such as rm.prompt() or rm.tokens('.')")
    check_type(when, Gate, name="when", allowed="a gate such as rm.above(axis, 1.0)")


def _draw(draw: Draw, seed: int | None) -> Axis:
    assert seed is not None, "drawn axes have seeds, which was checked"
    return draw(seed)


def _edit(axis: Axis, verb: Verb, amount: float, when: Gate) -> Intervention:
    """Its axis and edit objects are shared by all masks, so that one batch applies them together."""
    edited = _edit_by(axis, verb, amount, when)
    return edited.allow_no_change() if amount == IDENTITY.get(verb) else edited


def _edit_by(axis: Axis, verb: Verb, amount: float, when: Gate) -> Intervention:
    match verb:
        case "ablate":
            return ablate(axis, when=when)
        case "clamp":
            return clamp(axis, amount, when=when)
        case "scale":
            return scale(axis, amount, when=when)
        case "steer":
            return steer(axis, amount, when=when)


def _check(
    axes: Mapping[str, Axis | Draw],
    verb: Verb,
    amounts: Sequence[float],
    masks: Mapping[str, Where],
    seeds: Sequence[int],
    drawn: Sequence[str],
) -> None:
    if not axes or not masks:
        raise DataError(f"a grid of {len(axes)} axes and {len(masks)} masks", allowed="at least one of each")
    if (verb == "ablate") != (len(amounts) == 0):
        need = (
            "no amounts: ablate(axis, value=...) goes into a Configuration"
            if verb == "ablate"
            else "one or more"
        )
        raise DataError(f"{len(amounts)} amounts for {verb}", allowed=need)
    if bool(drawn) != (len(seeds) > 0):
        raise DataError(
            f"{len(seeds)} seeds for {len(drawn)} drawn axes",
            allowed="seeds where an axis is a function of one, and only there",
            do="write `lambda seed: Direction.along(...)` for an axis that is drawn",
        )
    for what, values in (("amounts", amounts), ("seeds", seeds)):
        if len(set(values)) < len(values) or not all(math.isfinite(value) for value in values):
            raise DataError(f"{what} {list(values)}", allowed="finite numbers, each once")


def check_configurations(configurations: Sequence[Configuration] | Configuration) -> Sequence[Configuration]:
    """Configurations, each with a name that no other one has; one is taken as one.

    Raises:
        ArgumentError: something else. DataError: none, or two of one name.
    """
    configurations = as_sequence(
        configurations,
        Configuration,
        name="configurations",
        allowed="what rm.grid(axes, verb, amounts=...) returns, or Configuration(name, plan)",
    )
    if not configurations:
        raise DataError("a sweep of no configuration", do="make some: grid(axes, verb, amounts=...)")
    names = [configuration.name for configuration in configurations]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"two configurations are called {twice!r}",
            do="name the axes and masks of different grids differently",
        )
    return configurations
