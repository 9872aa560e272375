"""falsify: who is attacked, how outcomes add up, and the search of a random model as a bar."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from reasonmech.errors import DataError, MismatchError
from reasonmech.locate import FeatureTable
from reasonmech.locate.falsify import AttemptFinding, Candidates, Outcome, RandomInit, falsify
from reasonmech.locate.table import COLUMNS
from tests.unit.locate.falsify.planted_corpus import SITE, ExactCoder

CODER = ExactCoder()


def _table(**columns: object) -> FeatureTable:
    n = 6
    frame = pd.DataFrame({name: [np.nan] * n for name in COLUMNS})
    defaults = {
        "behaviour": "backtrack",
        "mode": "anticipates",
        "site": str(SITE),
        "kind": ["feature"] * 5 + ["probe"],
        "feature": [0, 1, 2, 3, 4, -1],
        "score": "auroc",
        "unit": "AUROC",
        "value": [0.9, 0.8, 0.95, 0.6, np.nan, 0.97],
        "low": [0.85, 0.75, 0.9, 0.5, np.nan, 0.9],
        "high": [0.95, 0.85, 1.0, 0.7, np.nan, 1.0],
        "train_value": [0.9, 0.85, 0.8, 0.7, 0.99, np.nan],
        "sign": [1, 1, 1, 1, -1, np.nan],
        "p_adjusted": [0.001, 0.001, 0.01, 0.2, 0.001, np.nan],
        "exploratory": False,
        "mean_active": [1.0, 2.0, 3.0, 4.0, 5.0, np.nan],
    }
    return FeatureTable(frame.assign(**(defaults | columns)))


@dataclass(frozen=True)
class _Says:
    name: str
    outcomes: dict[int, Outcome]

    def findings(self, coder, candidates: Candidates) -> list[AttemptFinding]:
        assert coder is CODER and list(candidates.mean_active) == [f + 1.0 for f in candidates.features]
        return [
            AttemptFinding(
                f, self.name, self.outcomes.get(f, "survives"), f"because {f}", "s", 1.0, 0.0, 2.0, "u"
            )
            for f in candidates.features
        ]


def test_candidates_are_what_select_would_choose_and_one_refutation_is_enough() -> None:
    one, two = _Says("one", {1: "refuted"}), _Says("two", {1: "undecided", 2: "undecided"})
    falsification = falsify(_table(), CODER, attempts=[one, two])
    assert falsification.candidates == (0, 1, 2)  # not 3 (not significant), not 4 (goes with silence)
    assert falsification.survivors == (0,)
    assert [falsification.outcome(f) for f in (0, 1, 2)] == ["survives", "refuted", "undecided"]
    assert falsification.exclusions["reason"].tolist() == ["because 1", "because 1", "because 2"]
    assert falsification.exclusions["outcome"].tolist() == ["refuted", "undecided", "undecided"]
    assert falsification.verdicts()["verdict"].tolist() == ["survives", "refuted", "undecided"]
    assert repr(falsification) == "Falsification(3 candidates: 1 survive, 1 refuted, 1 undecided)"
    assert "because 1" in falsification._repr_html_()
    few = falsify(_table(exploratory=True), CODER, attempts=[one])
    assert few.exploratory and not falsification.exploratory and "exploratory" in repr(few)
    assert falsify(_table(), CODER, attempts=[one], k=1).candidates == (0,)
    with pytest.raises(DataError, match="no candidate"):
        falsification.outcome(3)


def test_features_that_were_chosen_elsewhere_are_attacked_whatever_the_search_says() -> None:
    one = _Says("one", {3: "refuted"})
    falsification = falsify(_table(), CODER, attempts=[one], features=(4, 3))
    assert falsification.candidates == (4, 3)
    assert [falsification.outcome(f) for f in (4, 3)] == ["survives", "refuted"]
    with pytest.raises(DataError, match=r"features \[7\] are not in the table"):
        falsify(_table(), CODER, attempts=[one], features=(7,))


def test_findings_are_written_and_read(tmp_path) -> None:
    falsification = falsify(_table(), CODER, attempts=[_Says("one", {})])
    falsification.save(tmp_path / "findings.parquet")
    assert pd.read_parquet(tmp_path / "findings.parquet").equals(falsification.frame)


def test_a_search_that_found_nothing_has_nothing_to_refute() -> None:
    falsification = falsify(_table(p_adjusted=0.9), CODER, attempts=[_Says("one", {})])
    assert falsification.candidates == falsification.survivors == () and len(falsification.frame) == 0


def test_tables_without_the_site_and_attempts_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="different names"):
        falsify(_table(), CODER, attempts=[])
    with pytest.raises(DataError, match="different names"):
        falsify(_table(), CODER, attempts=[_Says("one", {}), _Says("one", {})])
    with pytest.raises(DataError, match="no feature at"):
        falsify(_table(site="resid_post.9"), CODER, attempts=[_Says("one", {})])
    with pytest.raises(DataError, match="several searches"):
        falsify(_table(behaviour=["a"] * 3 + ["b"] * 3), CODER, attempts=[_Says("one", {})])


def test_a_feature_must_beat_the_best_of_a_random_model() -> None:
    null = _table(value=[0.82, 0.6, 0.5, 0.5, np.nan, 0.99], low=0.78, high=0.84)  # its probe does not count
    falsification = falsify(_table(), CODER, attempts=[RandomInit(_table(), null)])
    assert [falsification.outcome(f) for f in falsification.candidates] == [
        "survives",
        "undecided",
        "survives",
    ]
    loose = replace(
        RandomInit(_table(), null), null=_table(value=[0.7, 0.6, 0.5, 0.5, np.nan, 0.99], high=0.92)
    )
    outcomes = falsify(_table(), CODER, attempts=[loose])  # the null's best may be as good as 0.92
    assert [outcomes.outcome(f) for f in outcomes.candidates] == ["undecided", "undecided", "undecided"]
    high = RandomInit(_table(), _table(value=[0.96, 0.6, 0.5, 0.5, np.nan, 0.99]))
    assert falsify(_table(), CODER, attempts=[high]).survivors == ()
    with pytest.raises(MismatchError, match="mode"):
        RandomInit(_table(), _table(mode="recognises"))
    with pytest.raises(MismatchError, match=r"n_pos \[40\] in the search and \[20\] in its null"):
        RandomInit(_table(n_pos=40), _table(n_pos=20))
    with pytest.raises(DataError, match="no held-out value"):
        RandomInit(_table(), _table(value=np.nan))
    without = _table(value=[np.nan, 0.8, 0.9, 0.5, 0.5, 0.9])
    with pytest.raises(DataError, match="feature 0"):
        falsify(without, CODER, attempts=[RandomInit(without, null)])
    assert replace(high, null=null).null is null
