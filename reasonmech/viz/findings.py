"""Findings: what searches, attempts to refute and dose studies say of features, for their pages."""

from __future__ import annotations

from types import NoneType
from typing import Final, NamedTuple

import pandas as pd

from reasonmech.arguments import check_type
from reasonmech.errors import DataError
from reasonmech.locate.table import FeatureTable

VERDICT_COLUMNS: Final = ("feature", "attempt", "outcome", "reason")  # of a `Falsification`, among others
CLAIM_COLUMNS: Final = ("feature", "claim", "verdict", "reason")  # of `ladder`
DOSE_COLUMNS: Final = ("feature", "behaviour", "arm", "dose", "unit", "value", "low", "high")


class Findings(NamedTuple):
    """What others found out about the features.

    Attributes:
        table: a search's result.
        verdicts: columns feature, attempt, outcome, reason: the `frame` of what `falsify` returns.
        doses: columns feature, behaviour, arm, dose, unit (of the dose), value, low, high (shares).
        claims: columns feature, claim, verdict, reason: what `ladder` returns.
    """

    table: FeatureTable | None = None
    verdicts: pd.DataFrame | None = None
    doses: pd.DataFrame | None = None
    claims: pd.DataFrame | None = None


def check_findings(findings: Findings) -> None:
    """Raise ArgumentError for a value that is no table, DataError for a table without its columns."""
    check_type(
        findings,
        Findings,
        name="findings",
        allowed="Findings",
        do="give Findings(table=table, verdicts=falsification.frame, doses=doses, claims=claims)",
    )
    check_type(
        findings.table,
        (FeatureTable, NoneType),
        name="table",
        allowed="a FeatureTable",
        do="give the FeatureTable of the search: what rm.locate returned",
    )
    for name, frame, needed in (
        ("verdicts", findings.verdicts, VERDICT_COLUMNS),
        ("doses", findings.doses, DOSE_COLUMNS),
        ("claims", findings.claims, CLAIM_COLUMNS),
    ):
        columns = ", ".join(needed)
        check_type(
            frame,
            (pd.DataFrame, NoneType),
            name=name,
            allowed="a DataFrame",
            do=f"give a frame with columns {columns}",
        )
        if frame is not None and (missing := [column for column in needed if column not in frame]):
            raise DataError(f"{name} without column {', '.join(missing)}", allowed=columns)
