"""Error rates: how often each verdict is given where it is not true, and where it is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple, final

import numpy as np
import pandas as pd
from jaxtyping import Bool
from scipy import stats as scipy_stats

from reasonmech.claims.claim import VERDICTS
from reasonmech.claims.evidence import Decoding
from reasonmech.stats import Interval, clopper_pearson

DECIDED: Final = ("WHEN", "HOW", "BOTH", "SHARPENED", "FORMAT", "NEITHER")
"""Verdicts that claim something: what is INCONCLUSIVE or INVALID is never wrong."""

Hits = Bool[np.ndarray, " case"]

OURS: Final = "verdict of the rules"


class Rates(NamedTuple):
    """How often something is said.

    Attributes:
        false: share of the cases of which it is not true, in which it is said all the same; None: no such.
        sensitivity: share of the cases of which it is clearly true, in which it is said; None: no such.
    """

    false: Interval | None
    sensitivity: Interval | None


class Slope(NamedTuple):
    """Judged shares of onsets beside the dialled ones: the line through them, at 95 %."""

    slope: Interval
    intercept: float
    n: int


@final
@dataclass(frozen=True, eq=False)
class ErrorRates:
    """What the draws say of the rules.

    Attributes:
        frame: one row per case, as `draws.draw_row` makes it.
    """

    frame: pd.DataFrame

    def matrix(self) -> pd.DataFrame:
        """Counts: populations by verdict."""
        populations, verdicts = self._column("population"), self._column("verdict")
        names = list(dict.fromkeys(populations))
        counts = [[int(((populations == name) & (verdicts == v)).sum()) for v in VERDICTS] for name in names]
        return pd.DataFrame(counts, index=names, columns=list(VERDICTS))

    def rates(self, verdict: str) -> Rates:
        """Of one of our verdicts, over all populations."""
        return self._rates(self._column("verdict") == verdict, verdict, among=np.array(True))

    def when(self, rule: str) -> Rates | None:
        """Of the "WHEN" of `OURS` or of a published rule; None where it could not be computed of any case.

        Cases of which no verdict is true, such as a gap that is partly one of format, are left out: their
        onsets may differ, and a rule that knows no mixtures has no other word for it. So are measurements
        with a fault.
        """
        answers = self._column("verdict" if rule == OURS else rule)
        if (answers == "not applicable").all():
            return None
        return self._rates(answers == "WHEN", "WHEN", among=self._has_cause)

    def _rates(self, is_said: Hits, verdict: str, *, among: np.ndarray) -> Rates:
        untrue = ~self._allows(verdict) & among
        true = (self._column("truth") == verdict) & self._column("clear")
        return Rates(_share(is_said[untrue]), _share(is_said[true]))

    def wrong(self, population: str | None = None) -> Interval:
        """Share of the cases with a wrong verdict: one that their truth does not allow, and that claims."""
        verdicts = self._column("verdict")
        is_wrong = np.isin(verdicts, DECIDED)
        for verdict in DECIDED:
            is_wrong &= ~((verdicts == verdict) & self._allows(verdict))
        share = _share(is_wrong[self._is_of([population] if population else set(self._column("population")))])
        assert share is not None
        return share

    def false_by_population(self, rule: str) -> dict[str, float]:
        """population -> share of its cases of which a rule says WHEN untruly, as in `when`."""
        is_said = self._column("verdict" if rule == OURS else rule) == "WHEN"
        untrue = ~self._allows("WHEN") & self._has_cause
        names = dict.fromkeys(self._column("population")[untrue])
        return {name: float(is_said[untrue & self._is_of([name])].mean()) for name in names}

    def dial(self, decoding: Decoding) -> Slope:
        """The judged share of the onsets on the dialled one, over the populations between WHEN and HOW."""
        x, y = (self._column(f"{column}_{decoding}") for column in ("dialled", "judged"))
        on_dial = self._is_of(["between", "when", "how", "both"]) & ~np.isnan(y)
        x, y = x[on_dial], y[on_dial]
        (slope, intercept), covariance = np.polyfit(x, y, 1, cov=True)
        half = float(scipy_stats.t.ppf(0.975, len(x) - 2) * np.sqrt(covariance[0, 0]))
        return Slope(
            Interval(float(slope), float(slope) - half, float(slope) + half), float(intercept), len(x)
        )

    @property
    def _has_cause(self) -> Hits:
        return ~np.isin(self._column("truth"), ["INCONCLUSIVE", "INVALID"])

    def _column(self, name: str) -> np.ndarray:
        return self.frame[name].to_numpy()

    def _allows(self, verdict: str) -> Hits:
        return np.array([verdict in str(allowed).split() for allowed in self._column("allowed")])

    def _is_of(self, populations: Collection[str]) -> Hits:
        return np.isin(self._column("population"), list(populations))


def _share(hits: Hits) -> Interval | None:
    return clopper_pearson(int(hits.sum()), len(hits)) if len(hits) else None
