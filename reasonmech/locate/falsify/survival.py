"""falsify: every candidate of a search meets every attempt to refute it; who survives, and why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import numpy as np
import pandas as pd

from reasonmech.arguments import as_sequence, check_type
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.files import save_table
from reasonmech.frames import rows_where
from reasonmech.interventions import Features
from reasonmech.locate.falsify.finding import Attempt, AttemptFinding, Candidates, Outcome
from reasonmech.locate.rows.checks import SEARCH, check_is_coder, feature_indices
from reasonmech.locate.table import FeatureTable
from reasonmech.ranges import Count, InnerShare, Positive

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder

ATTEMPTS: Final = "values with a name and findings, such as Residualised(corpus) or Baselines(corpus)"
COLUMNS: Final = {
    "feature": "index in the coder",
    "attempt": "what was tried",
    "outcome": "survives, refuted or undecided",
    "reason": "in words, with its numbers",
    "statistic": "what decided",
    "value": "its estimate",
    "low": "lower end of its 95 % interval, by problem",
    "high": "its upper end",
    "unit": "of value, low and high",
}


@checked
@final
@dataclass(frozen=True, eq=False)
class Falsification:
    """What is left of a search.

    Attributes:
        table: the search.
        candidates: the features that were attacked, best first.
        frame: one row per feature and finding, with the columns of `COLUMNS`.
    """

    table: FeatureTable
    candidates: tuple[int, ...]
    frame: pd.DataFrame

    @checked
    def outcome(self, feature: Count) -> Outcome:
        """Refuted by one attempt is refuted; else undecided where one is; else it survives.

        Raises:
            DataError: the feature was no candidate.
        """
        if feature not in self.candidates:
            raise DataError(
                f"feature {feature} was no candidate", allowed=", ".join(map(str, self.candidates))
            )
        outcomes = set(self.of(feature)["outcome"])
        return "refuted" if "refuted" in outcomes else "undecided" if "undecided" in outcomes else "survives"

    @property
    def survivors(self) -> tuple[int, ...]:
        """Features that every attempt left standing, best first."""
        return tuple(f for f in self.candidates if self.outcome(f) == "survives")

    @property
    def exploratory(self) -> bool:
        """Whether the search had fewer than 30 positive spans: look at its survivors, but claim nothing."""
        return bool(self.table.frame["exploratory"].eq(True).any())

    @property
    def exclusions(self) -> pd.DataFrame:
        """The findings that keep a candidate from surviving, refutations first."""
        against = rows_where(self.frame, self.frame["outcome"] != "survives")
        # in the order of the alphabet "refuted" stands before "undecided"
        return against.sort_values(by="outcome", kind="stable").reset_index(drop=True)

    @checked
    def of(self, feature: Count) -> pd.DataFrame:
        """All findings of one feature."""
        return rows_where(self.frame, self.frame["feature"] == feature).reset_index(drop=True)

    def verdicts(self) -> pd.DataFrame:
        """One row per candidate: what it was located for, every outcome, and what they come to."""
        searched, rows = self.table.frame.iloc[0], []
        about = {"behaviour": searched["behaviour"], "definition": searched.get("definition", "")}
        for feature in self.candidates:
            findings = self.of(feature)
            outcomes = dict(zip(findings["attempt"], findings["outcome"], strict=True))
            rows.append({"feature": feature, **about, **outcomes, "verdict": self.outcome(feature)})
        return pd.DataFrame(rows)

    @checked
    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the findings as parquet. Raises OutputError where there is a file, unless it is to go."""
        save_table(self.frame, path, overwrite=overwrite)

    def __repr__(self) -> str:
        counts = Counter(self.outcome(feature) for feature in self.candidates)
        tally = ", ".join(f"{counts[name]} {word}" for name, word in _WORDS)
        mark = "; exploratory: fewer than 30 positive spans" if self.exploratory else ""
        return f"Falsification({len(self.candidates)} candidates: {tally}{mark})"

    def _repr_html_(self) -> str:
        return self.verdicts().to_html(index=False) + self.exclusions.to_html(
            index=False, float_format="%.3g"
        )


_WORDS: Final[tuple[tuple[Outcome, str], ...]] = (
    ("survives", "survive"), ("refuted", "refuted"), ("undecided", "undecided"),
)  # fmt: skip


@checked
def falsify(
    table: FeatureTable,
    coder: SparseCoder,
    *,
    attempts: Sequence[Attempt],
    features: Features | Sequence[int] | None = None,
    k: Positive = 8,
    alpha: InnerShare = 0.05,
) -> Falsification:
    """Try to refute the features that a search found.

    Candidates are the k features that go with the behaviour, pass the false-discovery rate, and rank best on
    the training split: what `rm.select` would choose. Each meets each attempt. A search that found nothing
    has no candidates, and nothing is tried.

    Args:
        table: a search of one behaviour (`table.of(name)` where it holds several).
        coder: the coder that was searched.
        attempts: `Crossed`, `Residualised`, `Baselines`, `TriggerSwap`, `RandomInit`, `Counterexamples`, or
            anything else that gives findings.
        features: these, in place of the best of the search: what was chosen on another text, say.
        k: at most so many candidates.
        alpha: false-discovery rate that a candidate has passed.

    Raises:
        ArgumentError: an argument is of the wrong type.
        DataError: no attempt, two of one name, a table of several behaviours, or one without features at the
            coder's site.
    """
    check_type(table, FeatureTable, name="table", allowed="a table of `locate`", do=SEARCH)
    check_is_coder(coder)
    attempts = as_sequence(attempts, Attempt, name="attempts", allowed=ATTEMPTS)
    names = [attempt.name for attempt in attempts]
    if not names or len(set(names)) < len(names):
        raise DataError(
            f"attempts {names}",
            allowed="one or more, of different names",
            do="give at least one way to be wrong",
        )
    candidates = choose(table, coder, k=k, alpha=alpha) if features is None else take(table, coder, features)
    findings: list[AttemptFinding] = []
    if candidates.features:
        for attempt in attempts:
            findings += attempt.findings(coder, candidates)
    return Falsification(table, candidates.features, pd.DataFrame(findings, columns=list(COLUMNS)))


def take(table: FeatureTable, coder: SparseCoder, features: Features | Sequence[int]) -> Candidates:
    """These features of a search, whatever it says of them.

    Raises:
        DataError: the table does not hold one of them at the coder's site.
    """
    frame, indices = _at_site(table, coder), feature_indices(features)
    of_feature = frame.drop_duplicates("feature").set_index("feature")["mean_active"]
    if missing := [index for index in indices if index not in of_feature.index]:
        raise DataError(f"features {missing} are not in the table", do="search the coder that they are of")
    return Candidates(indices, of_feature.loc[list(indices)].to_numpy(np.float64))


def choose(table: FeatureTable, coder: SparseCoder, *, k: int, alpha: float) -> Candidates:
    """The features that are attacked.

    Raises:
        DataError: a table of several behaviours, or one without features at the coder's site.
    """
    frame = _at_site(table, coder)
    passing = rows_where(frame, (frame["sign"] > 0) & (frame["p_adjusted"] <= alpha))
    best = passing.sort_values(by="train_value", ascending=False).head(k)
    return Candidates(tuple(int(i) for i in best["feature"]), best["mean_active"].to_numpy(np.float64))


def _at_site(table: FeatureTable, coder: SparseCoder) -> pd.DataFrame:
    """The features of one search at the coder's site. Raises DataError."""
    frame = rows_where(
        table.frame, table.frame["kind"].eq("feature") & table.frame["site"].eq(str(coder.site))
    )
    if frame.empty:
        raise DataError(
            f"the table has no feature at {coder.site}",
            allowed=", ".join(sorted(set(table.frame["site"]))),
            do="give the coder that was searched",
        )
    if len(searches := set(zip(frame["behaviour"], frame["mode"], strict=True))) > 1:
        raise DataError(
            f"the table holds several searches: {sorted(searches)}", do="take one: table.of(behaviour)"
        )
    return frame
