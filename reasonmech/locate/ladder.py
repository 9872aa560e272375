"""The ladder of claims up to C2: does the coder fit, does the feature detect, also beyond its cue?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import pandas as pd

from reasonmech.arguments import as_sequence, check_type
from reasonmech.errors import DataError, MismatchError
from reasonmech.frames import rows_where
from reasonmech.interventions import Features
from reasonmech.locate.falsify import Falsification
from reasonmech.locate.preservation import BOUNDS as BOUNDS_OF_RATIO
from reasonmech.locate.preservation import BehaviourPreservation
from reasonmech.locate.rows.checks import feature_indices
from reasonmech.locate.table import FeatureTable
from reasonmech.runtime.coder_fit import FitReport

Verdict = Literal["SUPPORTED", "REFUTED", "INCONCLUSIVE", "NOT TESTED"]
COLUMNS: Final = ("feature", "claim", "verdict", "reason")
RECOVERED: Final = 0.90  # of the cross-entropy, by the coder's reconstruction
BOUNDS: Final = {"auroc": 0.70, "hazard": 0.01}  # that the lower end of a score's interval must reach

# outcome of a comparison or an attempt -> verdict
_OF_PRESERVATION: Final[dict[str, Verdict]] = {
    "kept": "SUPPORTED",
    "lost": "REFUTED",
    "undecided": "INCONCLUSIVE",
}
_OF_OUTCOME: Final[dict[str, Verdict]] = {
    "survives": "SUPPORTED", "refuted": "REFUTED", "undecided": "INCONCLUSIVE",
}  # fmt: skip


def ladder(
    features: Features | Sequence[int],
    *,
    fit: FitReport,
    table: FeatureTable | Sequence[FeatureTable],
    falsification: Falsification,
    preservation: BehaviourPreservation | None = None,
) -> pd.DataFrame:
    """Verdicts on C0, C1 and C2 for each feature; a claim is tested only when those before it are supported.

    - C0, the coder fits this text: it recovers 0.90 of the cross-entropy; where the labels anticipate, the
      hazard of the behaviour is also 0.8 to 1.25 times as high under reconstruction.
    - C1, the feature detects the behaviour: its AUROC and, where the labels anticipate, its hazard gain lie
      above their bounds (`BOUNDS`).
    - C2, beyond its cue: it survives every attempt to refute it.

    A ratio or score is supported when its whole interval is inside the bounds, refuted when all of it is
    outside, and INCONCLUSIVE else; so is a claim of which one number was not measured. C1 says whether the
    labels anticipate the behaviour or recognise it; only the former bears on *when*. None of the three says
    that the model uses the feature.

    Args:
        table: of `locate`; one per score.
        falsification: of `falsify`.
        preservation: of `behaviour_preservation`, for labels that anticipate.

    Returns:
        Columns feature, claim, verdict, reason; three rows a feature.

    Raises:
        ArgumentError: an argument is of the wrong type.
        DataError: a feature has no held-out value in the tables.
        MismatchError: they are of several sites or behaviours.
    """
    indices = feature_indices(features)
    _check_types(fit, falsification, preservation)
    tables = as_sequence(table, FeatureTable, name="table", allowed="tables of `locate`, one per score")
    frame = pd.concat([of_score.frame for of_score in tables], ignore_index=True)
    rows = []
    for feature in indices:
        values = _values(frame, feature)
        _check_one_search(values, fit, preservation)
        anticipates = bool(values["mode"].eq("anticipates").any())
        steps = [
            ("C0 the coder fits", _fits(fit, preservation, anticipates=anticipates)),
            ("C1 it detects", _detects(values)),
            ("C2 beyond its cue", _beyond(falsification, feature)),
        ]
        supported = True
        for claim, (verdict, reason) in steps:
            shown = (verdict, reason) if supported else ("NOT TESTED", "a claim below it is not supported")
            rows.append((feature, claim, *shown))
            supported = supported and verdict == "SUPPORTED"
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _check_types(fit: object, falsification: object, preservation: object) -> None:
    check_type(fit, FitReport, name="fit", allowed="a fit report", do="rm.check_fit(host, coder, rollouts)")
    attempts = "rm.falsify.falsify(table, coder, attempts=[...])"
    check_type(falsification, Falsification, name="falsification", allowed="a falsification", do=attempts)
    if preservation is not None:
        allowed = "what `rm.behaviour_preservation` gives, or None"
        check_type(preservation, BehaviourPreservation, name="preservation", allowed=allowed)


def _values(frame: pd.DataFrame, feature: int) -> pd.DataFrame:
    """The rows of a feature that have a held-out value which a bound is set for."""
    of_feature = (frame["kind"] == "feature") & (frame["feature"] == feature) & frame["value"].notna()
    values = rows_where(frame, of_feature & frame["score"].isin(list(BOUNDS)))
    if values.empty:
        raise DataError(
            f"feature {feature} has no held-out AUROC or hazard in the table",
            do="search with `locate`, and a larger `Search(top=)`",
        )
    return values


def _check_one_search(
    values: pd.DataFrame, fit: FitReport, preservation: BehaviourPreservation | None
) -> None:
    sites = {*values["site"], fit.site}
    behaviours = {f"{name} ({mode})" for name, mode in zip(values["behaviour"], values["mode"], strict=True)}
    if preservation is not None:
        sites.add(preservation.site)
        behaviours.add(f"{preservation.behaviour} (anticipates)")
    for what, names in (("sites", sites), ("behaviours", behaviours)):
        if len(names) > 1:
            raise MismatchError(
                f"fit, tables and hazard are of several {what}: {', '.join(sorted(names))}",
                do="give those of one coder and one set of labels",
            )


def _fits(
    fit: FitReport, preservation: BehaviourPreservation | None, *, anticipates: bool
) -> tuple[Verdict, str]:
    reason = (
        f"recovers {fit.ce_recovered:.3f} of the cross-entropy (at least {RECOVERED:g}), explains "
        f"{fit.explained_variance:.3f} of the variance on {fit.n_tokens} tokens"
    )
    if fit.ce_recovered < RECOVERED:
        return "REFUTED", reason
    if not anticipates:
        return "SUPPORTED", reason
    if preservation is None:
        return (
            "INCONCLUSIVE",
            f"{reason}; whether it still begins under reconstruction: see `behaviour_preservation`",
        )
    reason = f"{reason}; {preservation}, bounds {BOUNDS_OF_RATIO[0]:g} and {BOUNDS_OF_RATIO[1]:g}"
    return _OF_PRESERVATION[preservation.outcome], reason


def _detects(values: pd.DataFrame) -> tuple[Verdict, str]:
    rows = values.to_dict("records")
    reason = "; ".join(
        f"{row['mode']} {row['behaviour']}, {row['score']} {row['value']:.3f} [{row['low']:.3f}, "
        f"{row['high']:.3f}] {row['unit']}, bound {BOUNDS[row['score']]:g}"
        for row in rows
    )
    needed = BOUNDS if "anticipates" in set(values["mode"]) else ("auroc",)
    missing = [score for score in needed if score not in set(values["score"])]
    verdict = _judge(rows)
    if missing and verdict == "SUPPORTED":
        return "INCONCLUSIVE", f"{reason}; no {' or '.join(missing)} of this feature: `locate(score=)`"
    return verdict, reason


def _judge(rows: Sequence[dict[str, Any]]) -> Verdict:
    if any(row["exploratory"] for row in rows):
        return "INCONCLUSIVE"
    if all(row["low"] >= BOUNDS[row["score"]] for row in rows):
        return "SUPPORTED"
    return "REFUTED" if any(row["high"] < BOUNDS[row["score"]] for row in rows) else "INCONCLUSIVE"


def _beyond(falsification: Falsification, feature: int) -> tuple[Verdict, str]:
    if feature not in falsification.candidates:
        return "NOT TESTED", "nobody tried to refute it"
    findings = falsification.of(feature)
    against = rows_where(findings, findings["outcome"] != "survives")
    shown = against if len(against) else findings
    reason = "; ".join(
        f"{attempt}: {reason}" for attempt, reason in zip(shown["attempt"], shown["reason"], strict=True)
    )
    return _OF_OUTCOME[falsification.outcome(feature)], reason
