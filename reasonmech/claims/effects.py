"""Effects: what an interval of a mean over problems says beside a margin, and beside a share of another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, final

from reasonmech.claims.claim import Rule
from reasonmech.claims.evidence import PerProblem
from reasonmech.stats import Interval, mean_interval

Change = Literal["rise", "fall", "none", "undecided"]
_REACH: Final = (-1.0, 1.0)


@final
@dataclass(frozen=True)
class Effect:
    """The mean of a signed quantity over problems, and what can be said of it.

    Attributes:
        interval: at `Rule.level`.
        narrow: at 1 - 2 (1 - level): inside of +-margin it shows equivalence (two one-sided tests).
        change: rise or fall: beyond the margin with the whole interval; none: `narrow` is inside of it.
    """

    interval: Interval
    narrow: Interval
    change: Change

    @property
    def moved(self) -> bool:
        return self.change in ("rise", "fall")

    def __str__(self) -> str:
        return points(self.interval)


def effect(
    values: PerProblem, rule: Rule, *, margin: float | None = None, bounds: tuple[float, float] = _REACH
) -> Effect:
    """The effect that values [problem] show.

    Args:
        margin: `rule.margin` where it is None.
        bounds: what a value can be; never read off the sample.
    """
    limit = rule.margin if margin is None else margin
    interval = mean_interval(values, bounds=bounds, level=rule.level)
    narrow = mean_interval(values, bounds=bounds, level=1 - 2 * (1 - rule.level))
    change: Change = "undecided"
    if interval.low > limit:
        change = "rise"
    elif interval.high < -limit:
        change = "fall"
    elif -limit < narrow.low and narrow.high < limit:
        change = "none"
    return Effect(interval, narrow, change)


def is_minor(part: PerProblem, whole: PerProblem, rule: Rule, *, share: float | None = None) -> bool:
    """Whether |mean(part)| is at most a share (`rule.minor`) of mean(whole), which is positive, by two tests.

    part - share whole < 0 and part + share whole > 0, each one-sidedly at 1 - level: no ratio is formed, so
    that a small whole makes it undecided, not wrong.
    """
    limit = rule.minor if share is None else share
    level, reach = 1 - 2 * (1 - rule.level), 2.0 + 2.0 * limit
    above = mean_interval(part - limit * whole, bounds=(-reach, reach), level=level)
    below = mean_interval(part + limit * whole, bounds=(-reach, reach), level=level)
    return above.high < 0 < below.low


def is_below(part: PerProblem, whole: PerProblem, rule: Rule) -> bool:
    """Whether mean(part), which may be negative, is below `rule.minor` of mean(whole), which is positive."""
    reach = 2.0 + 2.0 * rule.minor
    level = 1 - 2 * (1 - rule.level)
    return mean_interval(part - rule.minor * whole, bounds=(-reach, reach), level=level).high < 0


def is_material(part: PerProblem, whole: PerProblem, rule: Rule, *, share: float | None = None) -> bool:
    """Whether |mean(part)| is above a share (`rule.minor`) of mean(whole), which is positive, by a test.

    What is not shown to be minor is not thereby shown to matter.
    """
    limit = rule.minor if share is None else share
    level, reach = 1 - 2 * (1 - rule.level), 2.0 + 2.0 * limit
    bounds = (-reach, reach)
    above = mean_interval(part - limit * whole, bounds=bounds, level=level)
    below = mean_interval(part + limit * whole, bounds=bounds, level=level)
    return above.low > 0 or below.high < 0


def points(interval: Interval) -> str:
    """An interval of shares in points: "+79.4 [+76.5, +82.2]"."""
    return f"{100 * interval.estimate:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def as_share(interval: Interval) -> str:
    """A share with its interval: "101 % [97, 106]"."""
    if math.isnan(interval.estimate) or interval.unbounded:
        return "a share that is not bounded"
    return f"{100 * interval.estimate:.0f} % [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"
