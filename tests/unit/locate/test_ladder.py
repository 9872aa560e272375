"""Verdicts up to C2: every bound decides, and nothing is tested on a rung that does not hold."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from reasonmech.errors import DataError, MismatchError
from reasonmech.locate import BehaviourPreservation, FeatureTable, ladder
from reasonmech.locate.falsify import Falsification, Outcome
from reasonmech.locate.table import COLUMNS
from reasonmech.runtime.coder_fit import FitReport
from reasonmech.stats import Interval

FIT = FitReport(
    site="resid_post.1",
    explained_variance=0.98,
    l0=8.0,
    dead_share=0.1,
    ce_clean=0.3,
    ce_spliced=0.31,
    ce_zero=4.0,
    ce_recovered=0.99,
    n_tokens=1000,
    neighbours={},
)


ONES = Interval(0.1, 0.1, 0.1)
PRESERVED = BehaviourPreservation(
    site="resid_post.1",
    behaviour="backtrack",
    clean=ONES,
    spliced=ONES,
    ratio=Interval(1.0, 0.9, 1.1),
    error_share=Interval(0.25, 0.2, 0.3),
    n_rows=100,
    n_effects=100,
)
GAIN = (0.02, 0.03)  # of the hazard, above its bound
Bounds = tuple[float, float]


def table(auroc: Bounds | None, hazard: Bounds | None = GAIN, **others: object) -> FeatureTable:
    row = (
        dict.fromkeys(COLUMNS, 0.0)
        | {
            "behaviour": "backtrack",
            "mode": "anticipates",
            "site": "resid_post.1",
            "kind": "feature",
            "feature": 3,
            "unit": "some",
            "p": 0.001,
            "exploratory": False,
        }
        | others
    )
    scores = {"auroc": auroc, "hazard": hazard}
    ends = {score: ends for score, ends in scores.items() if ends is not None}
    rows = [
        row | {"score": score, "value": sum(e) / 2, "low": e[0], "high": e[1]} for score, e in ends.items()
    ]
    return FeatureTable(pd.DataFrame(rows))


def judged(searched: FeatureTable, outcome: Outcome) -> Falsification:
    frame = pd.DataFrame(
        [(3, "crossed", outcome, "because")], columns=["feature", "attempt", "outcome", "reason"]
    )
    return Falsification(searched, (3,), frame)


def verdicts(
    fit: FitReport,
    searched: FeatureTable,
    outcome: Outcome = "survives",
    preservation: BehaviourPreservation | None = PRESERVED,
) -> list[str]:
    return ladder(
        [3], fit=fit, table=searched, falsification=judged(searched, outcome), preservation=preservation
    )["verdict"].tolist()


@pytest.mark.parametrize(
    ("outcome", "verdict"), [("survives", "SUPPORTED"), ("refuted", "REFUTED"), ("undecided", "INCONCLUSIVE")]
)
def test_c2_is_the_outcome_of_the_attempts(outcome: Outcome, verdict: str) -> None:
    assert verdicts(FIT, table((0.8, 0.9)), outcome) == ["SUPPORTED", "SUPPORTED", verdict]


@pytest.mark.parametrize(
    ("searched", "verdict"),
    [
        (table((0.65, 0.8)), "INCONCLUSIVE"),
        (table((0.5, 0.69)), "REFUTED"),
        (table((0.8, 0.9), exploratory=True), "INCONCLUSIVE"),
        (table((0.8, 0.9), (0.002, 0.005)), "REFUTED"),
        (table((0.8, 0.9), (0.005, 0.02)), "INCONCLUSIVE"),
        (table((0.8, 0.9), None), "INCONCLUSIVE"),
        (table(None), "INCONCLUSIVE"),
    ],
)
def test_c2_is_not_tested_where_c1_is_not_supported(searched: FeatureTable, verdict: str) -> None:
    assert verdicts(FIT, searched) == ["SUPPORTED", verdict, "NOT TESTED"]


def test_a_coder_that_does_not_fit_refutes_c0_and_leaves_the_rest_untested() -> None:
    bad = replace(FIT, ce_recovered=0.89)
    assert verdicts(bad, table((0.8, 0.9))) == ["REFUTED", "NOT TESTED", "NOT TESTED"]


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((0.81, 1.24), "SUPPORTED"),
        ((0.7, 1.1), "INCONCLUSIVE"),
        ((0.5, 0.79), "REFUTED"),
        ((1.3, 1.6), "REFUTED"),
    ],
)
def test_c0_needs_a_ratio_of_hazards_inside_its_bounds(ends: Bounds, verdict: str) -> None:
    preservation = replace(PRESERVED, ratio=Interval(sum(ends) / 2, *ends))
    rest = ["SUPPORTED", "SUPPORTED"] if verdict == "SUPPORTED" else ["NOT TESTED", "NOT TESTED"]
    assert verdicts(FIT, table((0.8, 0.9)), preservation=preservation) == [verdict, *rest]


def test_preservation_is_needed_where_labels_anticipate_and_only_there() -> None:
    assert verdicts(FIT, table((0.8, 0.9)), preservation=None) == ["INCONCLUSIVE", "NOT TESTED", "NOT TESTED"]
    inside = table((0.8, 0.9), None, mode="recognises")
    assert verdicts(FIT, inside, preservation=None) == ["SUPPORTED"] * 3


def test_one_table_per_score_gives_the_verdicts_of_one_table() -> None:
    apart, joined = [table((0.8, 0.9), None), table(None)], table((0.8, 0.9))
    falsification = judged(joined, "survives")
    several, one = (
        ladder([3], fit=FIT, table=tables, falsification=falsification, preservation=PRESERVED)
        for tables in (apart, joined)
    )
    pd.testing.assert_frame_equal(several, one)


@pytest.mark.parametrize(
    ("fit", "preservation", "of"),
    [
        (replace(FIT, site="resid_post.2"), PRESERVED, "sites: resid_post.1, resid_post.2"),
        (FIT, replace(PRESERVED, site="resid_post.0"), "sites: resid_post.0, resid_post.1"),
        (FIT, replace(PRESERVED, behaviour="check"), "behaviours"),
    ],
)
def test_a_fit_and_tables_of_other_sites_or_behaviours_are_refused(
    fit: FitReport, preservation: BehaviourPreservation, of: str
) -> None:
    with pytest.raises(MismatchError, match=of):
        verdicts(fit, table((0.8, 0.9)), preservation=preservation)


def test_a_feature_that_nobody_attacked_is_not_tested_on_c2() -> None:
    searched = table((0.8, 0.9))
    nobody = Falsification(searched, (), pd.DataFrame(columns=["feature", "attempt", "outcome", "reason"]))
    frame = ladder([3], fit=FIT, table=searched, falsification=nobody, preservation=PRESERVED)
    assert frame["verdict"].tolist() == ["SUPPORTED", "SUPPORTED", "NOT TESTED"]
    assert frame["reason"].tolist()[2] == "nobody tried to refute it"
    with pytest.raises(DataError, match="feature 4"):
        ladder([4], fit=FIT, table=searched, falsification=nobody)
