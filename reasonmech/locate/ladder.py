"""The ladder of claims up to C2: does the coder fit, does the feature detect, and does it do so beyond its
cue?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import pandas as pd

from reasonmech.errors import DataError, MismatchError
from reasonmech.frames import rows_where
from reasonmech.interventions import Features
from reasonmech.locate.falsify import Falsification
from reasonmech.locate.preservation import BOUNDS as BOUNDS_OF_RATIO
from reasonmech.locate.preservation import HazardKept
from reasonmech.locate.table import FeatureTable
from reasonmech.runtime.coder_fit import FitReport

Verdict = Literal["SUPPORTED", "REFUTED", "INCONCLUSIVE", "NOT TESTED"]
COLUMNS: Final = ("feature", "claim", "verdict", "reason")
RECOVERED: Final = 0.90  # of the cross-entropy, by the coder's reconstruction
BOUNDS: Final = {"auroc": 0.70, "hazard": 0.01}  # that the lower end of a score's interval must reach

_OF_HAZARD: Final[dict[str, Verdict]] = {"kept": "SUPPORTED", "lost": "REFUTED", "undecided": "INCONCLUSIVE"}
_OF_OUTCOME: Final[dict[str, Verdict]] = {
    "survives": "SUPPORTED", "refuted": "REFUTED", "undecided": "INCONCLUSIVE",
}  # fmt: skip


def ladder(
    features: Features | Sequence[int],
    *,
    fit: FitReport,
    table: FeatureTable | Sequence[FeatureTable],
    falsification: Falsification,
    kept: HazardKept | None = None,
) -> pd.DataFrame:
    """Verdicts on C0, C1 and C2 for each feature; a claim is tested only when those before it are supported.

    - C0, the coder fits this text: it recovers 0.90 of the cross-entropy; where the labels anticipate, the
    hazard of
      the behaviour is also 0.8 to 1.25 times as high under reconstruction.
    - C1, the feature detects the behaviour: its AUROC and, where the labels anticipate, its hazard gain lie
    above their
      bounds (`BOUNDS`).
    - C2, beyond its cue: it survives every attempt to refute it.

    A ratio or score is supported when its whole interval is inside the bounds, refuted when all of it is
    outside, and INCONCLUSIVE else; so is a claim of which one number was not measured. C1 says whether the
    labels anticipate the behaviour or recognise it; only the former bears on *when*. None of the three says
    that the model uses the feature.

    Args:
        table: of `locate`; one per score.
        kept: of `hazard_kept`, for labels that anticipate.

    Returns:
        Columns feature, claim, verdict, reason; three rows a feature.

    Raises:
        DataError: a feature has no held-out value in the tables.
        MismatchError: they are of several sites or behaviours.
    """
    indices = features.indices if isinstance(features, Features) else tuple(features)
    tables = [table] if isinstance(table, FeatureTable) else list(table)
    frame = pd.concat([some.frame for some in tables], ignore_index=True)
    rows = []
    for feature in indices:
        own = _values(frame, feature)
        _check_one_search(own, fit, kept)
        steps = [
            ("C0 the coder fits", _fits(fit, kept, anticipates=bool(own["mode"].eq("anticipates").any()))),
            ("C1 it detects", _detects(own)),
            ("C2 beyond its cue", _beyond(falsification, feature)),
        ]
        standing = True
        for claim, (verdict, reason) in steps:
            shown = (verdict, reason) if standing else ("NOT TESTED", "a claim below it is not supported")
            rows.append((feature, claim, *shown))
            standing = standing and verdict == "SUPPORTED"
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _values(frame: pd.DataFrame, feature: int) -> pd.DataFrame:
    """The rows of a feature that have a held-out value which a bound is set for."""
    here = (frame["kind"] == "feature") & (frame["feature"] == feature) & frame["value"].notna()
    own = rows_where(frame, here & frame["score"].isin(list(BOUNDS)))
    if own.empty:
        raise DataError(
            f"feature {feature} has no held-out AUROC or hazard in the table",
            do="search with `locate`, and a larger `Search(top=)`",
        )
    return own


def _check_one_search(own: pd.DataFrame, fit: FitReport, kept: HazardKept | None) -> None:
    sites = {*own["site"], fit.site, *([kept.site] if kept else [])}
    behaviours = {
        *zip(own["behaviour"], own["mode"], strict=True),
        *([(kept.behaviour, "anticipates")] if kept else []),
    }
    for what, found in (("sites", sites), ("behaviours", {f"{name} ({mode})" for name, mode in behaviours})):
        if len(found) > 1:
            raise MismatchError(
                f"fit, tables and hazard are of several {what}: {', '.join(sorted(found))}",
                do="give those of one coder and one set of labels",
            )


def _fits(fit: FitReport, kept: HazardKept | None, *, anticipates: bool) -> tuple[Verdict, str]:
    reason = (
        f"recovers {fit.ce_recovered:.3f} of the cross-entropy (at least {RECOVERED:g}), explains "
        f"{fit.explained_variance:.3f} of the variance on {fit.n_tokens} tokens"
    )
    if fit.ce_recovered < RECOVERED:
        return "REFUTED", reason
    if not anticipates:
        return "SUPPORTED", reason
    if kept is None:
        return (
            "INCONCLUSIVE",
            f"{reason}; whether the behaviour still begins under reconstruction: see `hazard_kept`",
        )
    reason = f"{reason}; {kept}, bounds {BOUNDS_OF_RATIO[0]:g} and {BOUNDS_OF_RATIO[1]:g}"
    return _OF_HAZARD[kept.outcome], reason


def _detects(own: pd.DataFrame) -> tuple[Verdict, str]:
    judged = own.to_dict("records")
    reason = "; ".join(
        f"{row['mode']} {row['behaviour']}, {row['score']} {row['value']:.3f} [{row['low']:.3f}, "
        f"{row['high']:.3f}] "
        f"{row['unit']}, bound {BOUNDS[row['score']]:g}"
        for row in judged
    )
    needed = BOUNDS if "anticipates" in set(own["mode"]) else ("auroc",)
    missing = [score for score in needed if score not in set(own["score"])]
    verdict = _judged(judged)
    if missing and verdict == "SUPPORTED":
        return "INCONCLUSIVE", f"{reason}; no {' or '.join(missing)} of this feature: `locate(score=)`"
    return verdict, reason


def _judged(rows: Sequence[dict[str, Any]]) -> Verdict:
    if any(row["exploratory"] for row in rows):
        return "INCONCLUSIVE"
    if all(row["low"] >= BOUNDS[row["score"]] for row in rows):
        return "SUPPORTED"
    return "REFUTED" if any(row["high"] < BOUNDS[row["score"]] for row in rows) else "INCONCLUSIVE"


def _beyond(falsification: Falsification, feature: int) -> tuple[Verdict, str]:
    if feature not in falsification.candidates:
        return "NOT TESTED", "nobody tried to refute it"
    own = falsification.of(feature)
    against = rows_where(own, own["outcome"] != "survives")
    said = against if len(against) else own
    reason = "; ".join(
        f"{attempt}: {reason}" for attempt, reason in zip(said["attempt"], said["reason"], strict=True)
    )
    return _OF_OUTCOME[falsification.outcome(feature)], reason
