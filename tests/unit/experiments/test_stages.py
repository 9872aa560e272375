"""What single stages count, and over what."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reasonmech as rm
from reasonmech.errors import CorruptFileError, DataError
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages import locate as module
from reasonmech.experiments.stages.coders import TrainCoders
from reasonmech.locate import FeatureTable
from reasonmech.locate.table import COLUMNS
from reasonmech.stats import bh, clopper_pearson, rate_interval
from tests.unit.cli.test_cli import write_pair_with_questions


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


def questions_run(folder: Path, behaviours: str) -> Path:
    """An experiment on questions, whose pair is two random models."""
    write_pair_with_questions(folder)
    rows = [{"question": f"What is {i} + 1? 🙂", "answer": i + 1} for i in range(60)]
    (folder / "many.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    task = f'{{kind: "jsonl:{folder}/many.jsonl", n: 6}}'
    stages = f"[{{kind: rollouts, n: 4, samples: 1, study_samples: 2, behaviours: {behaviours}}}]"
    file = folder / "run.yaml"
    file.write_text(f"name: q\npair: {folder}/pair.yaml\ntask: {task}\nstages: {stages}\n")
    return file


def test_a_run_on_questions_counts_outcomes_and_records_where_they_come_from(tmp_path: Path) -> None:
    file = questions_run(tmp_path, "[]")
    run = rm.run(file, out=tmp_path / "out", overrides=["decode.max_new_tokens=8"], progress=False)
    shares = run.results[run.results.metric.str.fullmatch(r"outcome:\w+")]
    assert shares.groupby("condition").value.sum().round(9).eq(1).all() and len(shares) == 10
    source = run.record["data"]["source"]
    assert source["questions"] == 60 and len(source["sha256"]) == 64 and len(run.missing) == 0


def test_what_prose_cannot_show_is_refused_before_a_text_is_written(tmp_path: Path) -> None:
    file = questions_run(tmp_path, "[backtrack]")
    with pytest.raises(DataError, match="'backtrack' reads a grammar"):
        rm.run(file, out=tmp_path / "out", progress=False)
    (tmp_path / "many.jsonl").unlink()
    with pytest.raises(CorruptFileError, match="cannot be read"):
        rm.run(file, out=tmp_path / "out", progress=False)
