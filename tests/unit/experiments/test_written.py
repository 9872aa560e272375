"""Which features a run clamps and ablates, in a table of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reasonmech.experiments.stages.group_search import CoderWithStats
from reasonmech.experiments.stages.groups import Group, GroupChoice
from reasonmech.experiments.stages.written import COLUMNS, written_features
from reasonmech.locate import FeatureStats
from reasonmech.testing import tiny_coder, tiny_host


def test_every_feature_has_its_norm_its_auroc_and_the_effect_of_its_group() -> None:
    coder = tiny_coder(tiny_host(), d_sae=8)
    stats = FeatureStats(np.linspace(0, 0.7, 8), np.arange(8.0), np.arange(8.0))
    search = {"behaviour": "check", "coder": "topk/a", "source": "base", "among": "opportunities"}
    clamp = Group(
        **search, site="resid_post.1", indices=(3, 5), mean_active=(3.0, 5.0), wider=(3, 5, 6), dose=4.0,
        effect=0.6, control=0.1, removal=0.8,
    )  # fmt: skip
    rows = [search | {"score": "auroc", "kind": "feature", "feature": i, "train_value": 0.9} for i in (3, 5)]
    values = [{"value": 0.85, "low": 0.8, "high": 0.9}, {"value": np.nan, "low": np.nan, "high": np.nan}]
    searched = pd.DataFrame([row | value for row, value in zip(rows, values, strict=True)])
    choice = GroupChoice(clamp, replace(clamp, source="thinking"))
    table = written_features([choice], searched, {"topk/a": CoderWithStats("topk/a", coder, stats)})
    assert list(table) == list(COLUMNS)
    assert list(zip(table.verb, table.feature, strict=True)) == [
        ("clamp", 3), ("clamp", 5), ("ablate", 3), ("ablate", 5), ("ablate", 6),
    ]  # fmt: skip
    norms = coder.rows(table.feature.tolist()).norm(dim=-1).tolist()
    assert table.decoder_norm.tolist() == pytest.approx(norms)
    first, second = table.iloc[0], table.iloc[1]
    assert (first["auroc"], first["auroc_train"], first["dose"]) == (0.85, 0.9, 4.0)
    assert np.isnan(second["auroc"]) and second["auroc_train"] == 0.9
    of_verb = table.groupby("verb").group_effect.first()
    assert (of_verb["clamp"], of_verb["ablate"]) == (0.6, 0.8)
    assert table.loc[table.verb == "ablate", ["dose", "auroc_train", "group_control"]].isna().all(axis=None)
