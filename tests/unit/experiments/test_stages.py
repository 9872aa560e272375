"""What single stages count, and over what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages import locate as module
from reasonmech.experiments.stages.coders import TrainCoders
from reasonmech.locate import FeatureTable
from reasonmech.locate.table import COLUMNS
from reasonmech.stats import bh, clopper_pearson, rate_interval


def test_the_interval_of_a_rate_is_by_problem() -> None:
    """Ten rollouts of a problem that all do the same are one observation, not ten."""
    hits = [10 * (i % 2) for i in range(20)]
    by_problem, rows = rate_interval(hits, [10] * 20), clopper_pearson(sum(hits), 200)
    assert by_problem.estimate == rows.estimate == 0.5
    assert by_problem.high - by_problem.low > 2 * (rows.high - rows.low)
    again = rate_interval([*hits, 0], [*[10] * 20, 0])
    assert again == by_problem


@pytest.mark.parametrize(("hits", "end"), [(0, "low"), (10, "high")])
def test_none_and_all_are_exact_over_problems(hits: int, end: str) -> None:
    interval = rate_interval([hits] * 20, [10] * 20)
    assert interval == clopper_pearson(2 * hits, 20)
    assert getattr(interval, end) == hits / 10
    assert interval.high - interval.low > 0.1


def test_a_stage_is_told_apart_by_the_files_that_its_settings_name(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[3] / "sae_configs" / "coders" / "topk.yaml"
    mine = tmp_path / "mine.yaml"
    mine.write_text(shipped.read_text())
    stage = TrainCoders(configs={str(mine): ()})
    shipped_files = stage.files()
    assert shipped_files[str(mine)] == TrainCoders(configs={"topk": ()}).files()["topk"]
    unseeded = [line for line in shipped.read_text().splitlines() if not line.startswith("seed:")]
    mine.write_text("\n".join([*unseeded, "seed: 77"]))
    assert stage.files() != shipped_files


class FakeContext:
    """Stands in for a stage's context."""

    pair, seed, progress = None, 0, False
    features: pd.DataFrame

    def write_features(self, table: pd.DataFrame) -> None:
        self.features = table

    def write_ledger(self, ledger: Ledger) -> None:
        assert not ledger.missing()


def test_p_values_are_corrected_over_every_search_and_every_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    p = np.linspace(0.001, 0.9, 40)

    def search(*_: object, **__: object) -> FeatureTable:
        frame = pd.DataFrame({name: [0.5] * 40 for name in COLUMNS} | {"p": p, "p_adjusted": bh(p)})
        value = [0.7] * 3 + [np.nan] * 37
        return FeatureTable(
            frame.assign(kind="feature", feature=range(40), value=value, train_value=-p, sign=1)
        )

    class FakeLabels:
        acts, mode = None, "recognises"

    monkeypatch.setattr(module, "read_coders", lambda context: {"a": None, "b": None})
    monkeypatch.setattr(module, "read_text", lambda *_: FakeLabels())
    monkeypatch.setattr(module, "labels_among", lambda *_, **__: FakeLabels())
    monkeypatch.setattr(module, "locate", search)
    context = FakeContext()
    module.LocateFeatures(behaviours=("check",), searches=(module.FeatureSearch(),), top=3).run(context)
    written = context.features
    assert len(written) == 6 and set(written.coder) == {"a", "b"}
    assert "kept" not in written and "reported" not in written
    assert not np.allclose(written.p_adjusted[:3], bh(p[:3]))
    assert np.allclose(written.p_adjusted, bh(np.concatenate([p, p]))[[0, 1, 2, 40, 41, 42]])
