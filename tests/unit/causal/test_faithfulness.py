"""faithfulness: what a curve consists of, that its ends are where they must be, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reasonmech.causal.attribution import attribute
from reasonmech.causal.faithfulness import faithfulness
from reasonmech.causal.feature_groups import FeatureGroups
from reasonmech.causal.text_pairs import TextPairs
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.metrics import logit_diff
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
METRIC = logit_diff(HOST, good="w7", bad="w8")
CLEAN = ["w1 w2 . w3 w9", "w5 w4 w8", "w1 w1 w4", "w2 . w2 w20", "w3 w4"]
CORRUPT = ["w1 w7 . w3 w9", "w6 w4 w8", "w1 w2 w4", "w2 . w3 w20", "w4 w4"]
PAIRS = TextPairs(CLEAN, CORRUPT)
CODER = tiny_coder(HOST, "resid_post.1")
RANKED = attribute(HOST, PAIRS, CODER, metric=METRIC).ranking("resid_post.1")


def share(curve: pd.DataFrame, group: str, n: int, error: str, patched: str) -> float:
    rows = curve.query("group == @group and n == @n and error == @error and patched == @patched")
    (value,) = rows["share"]
    return float(value)


def test_a_curve_begins_at_nothing_and_ends_at_the_whole_site() -> None:
    groups = {"located": RANKED, "random 0": RANKED[::-1][:6], "random 1": [0, 1, 2]}
    shares = faithfulness(
        HOST, PAIRS, FeatureGroups(CODER, groups, error=("keep", "patch", "drop")), metric=METRIC
    )
    curve, n = shares.curve, len(RANKED)
    assert list(curve.query("group == 'random 0'")["n"].unique()) == [0, 1, 2, 4, 6]
    assert (
        list(curve.query("group == 'located'")["n"].unique())[-1] == n and curve["share"].abs().max() > 0.01
    )
    assert share(curve, "located", 0, "keep", "group") == 0
    assert share(curve, "located", n, "keep", "rest") == pytest.approx(0, abs=1e-3)
    assert share(curve, "located", n, "patch", "group") == pytest.approx(1, abs=1e-3)
    assert share(curve, "located", 0, "patch", "rest") == pytest.approx(1, abs=1e-3)
    for error in ("keep", "drop"):
        both = share(curve, "located", 0, error, "rest"), share(curve, "located", n, error, "group")
        assert both[0] == pytest.approx(both[1], abs=1e-3) and both[0] != 0
    assert dict(zip(curve["group"], curve["control"], strict=True)) == {
        "located": False,
        "random 0": True,
        "random 1": True,
    }
    assert {"share_low", "share_high", "effect_low", "n_problems"} <= set(curve)


def test_a_list_is_one_group_and_sizes_are_those_asked_for(tmp_path: Path) -> None:
    shares = faithfulness(
        HOST, PAIRS, FeatureGroups(CODER, RANKED[:5], sizes=[3, 1], error=["keep"]), metric=METRIC
    )
    assert [tuple(row) for row in shares.curve[["group", "n", "patched"]].to_numpy()] == [
        ("group", 1, "group"),
        ("group", 1, "rest"),
        ("group", 3, "group"),
        ("group", 3, "rest"),
    ]
    assert len(shares.table) == 4 * len(CLEAN)
    shares.to_parquet(tmp_path / "curve.parquet")
    assert pd.read_parquet(tmp_path / "curve.parquet").equals(shares.table)


def test_memory_for_sources_does_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"located": RANKED[:4], "random 0": [0, 1, 2, 3]}
    at_once = faithfulness(HOST, PAIRS, FeatureGroups(CODER, groups), metric=METRIC).table
    monkeypatch.setattr(sys.modules["reasonmech.causal.faithfulness"], "BYTES_AT_ONCE", 1)
    one_by_one = faithfulness(HOST, PAIRS, FeatureGroups(CODER, groups), metric=METRIC, batch_rows=3).table
    assert at_once["effect"].abs().max() > 1e-2
    np.testing.assert_allclose(at_once["value"], one_by_one["value"], atol=1e-4)


def test_denoising_and_noising_give_different_effects() -> None:
    into_corrupt, into_clean = (
        faithfulness(
            HOST,
            TextPairs(CLEAN, CORRUPT, direction=direction),
            FeatureGroups(CODER, RANKED[:4]),
            metric=METRIC,
        ).table
        for direction in ("denoise", "noise")
    )
    assert not np.allclose(into_corrupt["effect"], into_clean["effect"])


def test_empty_groups_unknown_features_and_sizes_of_no_group_are_refused() -> None:
    for groups in ([], {"a": []}, [1, 1]):
        with pytest.raises(DataError, match="at least one, each once"):
            faithfulness(HOST, PAIRS, FeatureGroups(CODER, groups), metric=METRIC)
    with pytest.raises(UnknownNameError, match=r"0 .. 63"):
        faithfulness(HOST, PAIRS, FeatureGroups(CODER, [64]), metric=METRIC)
    with pytest.raises(UnknownNameError, match="keep, drop, patch"):
        faithfulness(HOST, PAIRS, FeatureGroups(CODER, [1], error=("kept",)), metric=METRIC)
    with pytest.raises(DataError, match=r"0 .. 2: no group has more"):
        faithfulness(HOST, PAIRS, FeatureGroups(CODER, [1, 2], sizes=[3]), metric=METRIC)
    last = tiny_coder(HOST, "resid_post.3")
    with pytest.raises(DataError, match=r"leaves metric 'logit_diff' as it is"):
        faithfulness(HOST, TextPairs(CLEAN[:1], CORRUPT[:1], [1]), FeatureGroups(last, [1]), metric=METRIC)
