"""The rule of claim C2: from effects in paired texts to what drives a feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, final

import numpy as np

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.locate.falsify.effects import EFFECTS, CrossedEffects, CueCells, Effect, measure_effects
from reasonmech.ranges import Count, Positive, Seed

Driver = Literal[
    "token-driven",
    "context-driven",
    "conjunctive",
    "mixed",
    "insertion-artefact",
    "no signal",
    "inconclusive",
]
DRIVERS: Final[tuple[Driver, ...]] = (
    "token-driven", "context-driven", "conjunctive", "mixed",
    "insertion-artefact", "no signal", "inconclusive",
)  # fmt: skip
BEYOND_ITS_CUE: Final[tuple[Driver, ...]] = ("context-driven", "conjunctive")

_ON, _OFF, _UNCLEAR = 1, 0, -1
_PLACEBO: Final = (EFFECTS.index("placebo, neutral"), EFFECTS.index("placebo, behaviour"))


@checked
@final
@dataclass(frozen=True)
class DriverRule:
    """Thresholds, in shares of a feature's mean activation where it fires; tuned on simulators, then frozen.

    Attributes:
        floor: an effect is there when its interval lies beyond +-floor.
        band: nothing is there when the intervals of all effects lie inside +-band.
        share: of the leading effect: another one counts when its interval lies beyond it, and is negligible
            when it lies inside.
        tolerance: by how many tokens the two contexts of a pair may be read apart; None: they are not
            compared, and a feature that follows the position passes for one that follows the context.
        draws, seed: of the bootstrap.

    Raises:
        DataError: thresholds out of order.
    """

    floor: float = 0.1
    band: float = 0.35
    share: float = 0.4
    tolerance: Count | None = 0
    draws: Positive = 2000
    seed: Seed = 0

    def __post_init__(self) -> None:
        if not (0 <= self.floor <= self.band and 0 < self.share < 1):
            raise DataError(
                f"floor {self.floor}, band {self.band}, share {self.share}",
                allowed="0 <= floor <= band, 0 < share < 1",
            )


class Driven(NamedTuple):
    """What drives one feature, and the effects that say so.

    Attributes:
        driver: the answer.
        reason: the answer in words, with its numbers.
        value, low, high: [effect] in the order of `EFFECTS`, shares of the mean activation, simultaneous 95
            %.
        leading: the largest of the simple effects.
    """

    driver: Driver
    reason: str
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    leading: Effect


def classify(
    cells: CueCells, *, scale: np.ndarray | None = None, rule: DriverRule | None = None
) -> list[Driven]:
    """What drives each feature.

    | driver | the cue beyond a placebo: neutral, behaviour | a placebo | the context alone |
    |---|---|---|---|
    | token-driven | on, on (and alike) | off | off |
    | conjunctive | off, on | off | off |
    | context-driven | off, off | off | on |
    | insertion-artefact | off, off | on, in both alike | off |
    | no signal | inside the band: all | | |
    | mixed | any other pattern of on and off | | |
    | inconclusive | an effect is neither on nor off | | |

    "On" and "off" are meant for all features at once, so an answer holds in the company in which it was
    given.

    Args:
        scale: [feature] mean activation where it fires, activation units. None: that of these texts.

    Raises:
        DataError: the two contexts of a pair are read at different positions.
    """
    rule = rule or DriverRule()
    if rule.tolerance is not None:
        cells.check_matched(rule.tolerance)
    effects = measure_effects(cells, scale=scale, draws=rule.draws, seed=rule.seed)
    return [_driven(effects, feature, rule) for feature in range(cells.n_features)]


def _driven(effects: CrossedEffects, feature: int, rule: DriverRule) -> Driven:
    value, low, high = (array[:, feature] for array in (effects.value, effects.low, effects.high))
    simple = slice(0, len(EFFECTS) - 1)
    lead = int(np.argmax(np.abs(value[simple])))
    least = np.where((low <= 0) & (high >= 0), 0.0, np.minimum(np.abs(low), np.abs(high)))
    most = np.maximum(np.abs(low), np.abs(high))
    if (most[simple] < rule.band).all() and not (least[simple] > rule.floor).any():
        driver: Driver = "no signal"
    else:
        bar = rule.share * abs(value[lead])
        state = np.where(least > max(rule.floor, bar), _ON, np.where(most < bar, _OFF, _UNCLEAR))
        driver = _answer(state.tolist(), alike=value[_PLACEBO[0]] * value[_PLACEBO[1]] > 0)
    reason = _describe(driver, (value, low, high), lead, fires=bool(effects.fires[feature]))
    return Driven(driver, reason, value, low, high, EFFECTS[lead])


def _answer(state: list[int], *, alike: bool) -> Driver:
    """The row of the table, given whether the placebo moves the feature the same way in both contexts."""
    cue_neutral, cue_behaviour, placebo_neutral, placebo_behaviour, context, interaction = state
    simple = state[:-1]
    if _UNCLEAR in simple:
        return "inconclusive"
    if placebo_neutral or placebo_behaviour:
        alone = not (cue_neutral or cue_behaviour or context)
        return "insertion-artefact" if alone and alike and placebo_neutral and placebo_behaviour else "mixed"
    match (cue_neutral, cue_behaviour, context):
        case (1, 1, 0):
            return "mixed" if interaction == _ON else "token-driven"
        case (0, 1, 0):
            return "conjunctive"
        case (0, 0, 1):
            return "context-driven"
        case _:
            return "mixed"


def _describe(
    driver: Driver, numbers: tuple[np.ndarray, np.ndarray, np.ndarray], lead: int, *, fires: bool
) -> str:
    if not fires:
        return "no signal: it never fires in these texts"
    value, low, high = numbers
    shown = [lead, *(i for i in np.argsort(-np.abs(value)).tolist() if i != lead)][:3]
    effects = "; ".join(f"{EFFECTS[i]} {value[i]:+.2f} [{low[i]:+.2f}, {high[i]:+.2f}]" for i in shown)
    return f"{driver}: {effects} of its mean activation"
