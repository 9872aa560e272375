"""What the report says of located features on problems that had no part in choosing them."""

from __future__ import annotations

import pandas as pd

from reasonmech.report.detectors import against_chance


def rows(*values: tuple[str, int, float, float, float, float, bool]) -> pd.DataFrame:
    columns = ["kind", "feature", "value", "low", "high", "train_value", "selected"]
    same = {"score": "auroc", "among": "boundaries", "source": "thinking", "unit": "AUROC", "coder": "c/s"}
    return pd.DataFrame(values, columns=columns).assign(**same)


def test_a_feature_beats_chance_on_the_side_that_was_named_before() -> None:
    part = rows(
        ("feature", 1, 0.80, 0.75, 0.85, 0.8, True),
        ("feature", 2, 0.30, 0.25, 0.35, 0.2, True),
        ("feature", 3, 0.30, 0.25, 0.35, 0.8, True),  # on the other side than on training problems
        ("feature", 4, 0.55, 0.48, 0.62, 0.8, True),  # chance is within its interval
        ("feature", 5, 0.90, 0.85, 0.95, 0.8, False),  # nobody chose it
        ("probe", -1, 0.99, 0.98, 1.00, float("nan"), False),
    )
    sentence = against_chance(part)
    assert "2 of 4 chosen features beat chance" in sentence and "boundaries of thinking text" in sentence
    assert "feature 1, has 0.80 [0.75, 0.85], beside logistic probe 0.99 [0.98, 1.00]" in sentence


def test_that_none_was_chosen_or_none_beats_chance_is_said() -> None:
    weak = rows(("feature", 1, 0.52, 0.40, 0.60, 0.8, True))
    assert "0 of 1 chosen features beat chance" in against_chance(weak)
    assert against_chance(weak.assign(selected=False)).startswith("No feature was chosen")
