"""What a paired design can show: the difference that it detects, and the problems that a margin takes.

Arms answer the same problems, one rollout each; `discordance` is the share of problems on which just one of
the two is right. Of shares of several rollouts take the mean of (a - b)^2, which is the same of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from scipy import stats as scipy_stats

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.stats.hypothesis_tests import fewest_problems

POWER: Final = 0.8
_STEPS: Final = 14  # halvings of a difference: to 1e-4
_FEWER: Final = 9  # where each is a chance of samples: to 2e-3
_MOST: Final = 50_000  # problems
_SAMPLES: Final = 500  # drawn for a chance that has no formula
_DRAWS: Final = 1000  # of weights, for each


@checked
def detectable_difference(
    n: int, *, discordance: float, beyond: float = 0.0, power: float = POWER, alpha: float = 0.05
) -> float:
    """The smallest difference in accuracy that n problems show with a chance of `power`.

    Shown: the exact McNemar test rejects at alpha, two-sided, in the right direction, which is where the
    interval of `paired_bootstrap` excludes 0. The chance is exact: a sum over the numbers of discordant pairs
    (Duffy 1984). A difference cannot exceed the discordance; where that is too rare to show any, the
    discordance rises with the difference.

    Args:
        n: problems.
        discordance: expected, such as the share seen.
        beyond: a difference that does not matter: shown is one whose whole interval is above it. The chance
            is then that of 500 samples, drawn with a fixed seed.

    Raises:
        DataError: n too small to show even that all problems differ, with the n that could; a share outside
            of (0, 1).
    """
    _check(discordance, power, alpha)
    if not 0 <= beyond < 1:
        raise DataError(f"beyond {beyond}", allowed="0 and above, below 1")

    def is_shown(difference: float, problems: int) -> bool:
        chances = _split(difference, discordance)
        if beyond:
            return _share_beyond(problems, beyond, chances, alpha) >= power
        return _power(problems, *chances, alpha) >= power

    least = _first(lambda m: is_shown(1.0, m))
    if n < least:
        raise DataError(f"{n} problems can show no difference", allowed=f"at least {least} problems")
    low, high = beyond, 1.0
    for _ in range(_STEPS if not beyond else _FEWER):
        middle = (low + high) / 2
        low, high = (low, middle) if is_shown(middle, n) else (middle, high)
    return high


@checked
def problems_for_difference(
    difference: float, *, discordance: float, power: float = POWER, alpha: float = 0.05
) -> int:
    """How many problems show a difference in accuracy with a chance of `power`, as `detectable_difference`.

    Raises:
        DataError: a difference or another share outside of (0, 1), or more than 50,000 problems.
    """
    _check(discordance, power, alpha)
    _check_within("difference", difference)
    p = _split(difference, discordance)
    return _first(lambda n: _power(n, *p, alpha) >= power)


@checked
def problems_for_equivalence(
    margin: float, *, discordance: float, power: float = POWER, alpha: float = 0.05
) -> int:
    """How many problems show two arms to be equivalent that are, with a chance of `power`, as `stats.tost`.

    The chance is that of 500 samples, drawn with a fixed seed, so that the number is right to some 5 %.
    Without discordance it is `fewest_problems`.

    Args:
        margin: the largest difference that does not matter.
        discordance: expected, such as the share seen; as often to one side as to the other.

    Raises:
        DataError: a margin or another share outside of (0, 1), or more than 50,000 problems.
    """
    _check(discordance, power, alpha)
    _check_within("margin", margin)
    fewest = fewest_problems(margin, alpha=alpha)
    if discordance == 0:
        return fewest

    return max(fewest, _first(lambda n: _share_equivalent(n, margin, discordance, alpha) >= power))


def _power(n: int, only_a: float, only_b: float, alpha: float) -> float:
    """Chance that the exact McNemar test finds a better, from the chances that a, or b, alone is right."""
    discordant = np.arange(1, n + 1)
    together = only_a + only_b
    critical = scipy_stats.binom.isf(alpha / 2, discordant, 0.5)  # rejects beyond
    rejects = scipy_stats.binom.sf(critical, discordant, only_a / together)
    return float(scipy_stats.binom.pmf(discordant, n, together) @ rejects)


def _share_equivalent(n: int, margin: float, discordance: float, alpha: float) -> float:
    """Share of samples without a true difference whose (1 - 2 alpha) interval lies inside +-margin."""
    rng = np.random.default_rng(0)
    p = (discordance / 2, discordance / 2, 1 - discordance)
    counts, times = np.unique(rng.multinomial(n, p, _SAMPLES), axis=0, return_counts=True)
    won, lost, equal = rng.standard_gamma(counts.T[:, None].astype(float), (3, _DRAWS, len(counts)))
    unseen = rng.standard_exponential((_DRAWS, 1))
    limit = margin * (won + lost + equal + unseen)  # weights of a sum of their own: as `bounded.reweight`
    above, below = won - lost + unseen >= limit, lost - won + unseen >= limit
    is_inside = (above.mean(0) <= alpha) & (below.mean(0) <= alpha)
    return float(times @ is_inside / _SAMPLES)


def _share_beyond(n: int, margin: float, chances: tuple[float, float], alpha: float) -> float:
    """Share of samples whose (1 - alpha) interval lies above a margin."""
    rng = np.random.default_rng(0)
    only_a, only_b = chances
    p = (only_a, only_b, max(0.0, 1 - only_a - only_b))
    counts, times = np.unique(rng.multinomial(n, p, _SAMPLES), axis=0, return_counts=True)
    won, lost, equal = rng.standard_gamma(counts.T[:, None].astype(float), (3, _DRAWS, len(counts)))
    unseen = rng.standard_exponential((_DRAWS, 1))
    above = won - lost - unseen > margin * (won + lost + equal + unseen)
    return float(times @ ((~above).mean(0) <= alpha / 2) / _SAMPLES)


def _split(difference: float, discordance: float) -> tuple[float, float]:
    """Chances that one arm alone, or the other alone, is right."""
    together = max(discordance, difference)
    return (together + difference) / 2, (together - difference) / 2


def _first(is_enough: Callable[[int], bool]) -> int:
    """The first number that is enough, by doubling and halving (power rises in teeth: to within one)."""
    high = 2
    while not is_enough(high):
        high *= 2
        if high > _MOST:
            raise DataError(f"more than {_MOST:,} problems are needed", do="ask for a larger difference")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _check(discordance: float, power: float, alpha: float) -> None:
    if not 0 <= discordance <= 1:
        raise DataError(f"discordance {discordance}", allowed="a share of the problems: 0 to 1")
    _check_within("power", power)
    _check_within("alpha", alpha)


def _check_within(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise DataError(f"{name} {value}", allowed="above 0 and below 1")
