"""The benchmarks: on small sizes every side of each computes the same (they assert it), and every miss says
why."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
Load = Callable[[str], ModuleType]


def untimed(sides: Mapping[str, object], *, runs: int = 5, seed: int = 0) -> dict[str, list[float]]:
    """In place of `measure`: every side takes as long."""
    return {name: [1.0, 1.0, 1.0] for name in sides}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Load]:
    """Import a script as if it were run from its folder; results go to a temporary one."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(importlib.import_module("_table"), "RESULTS", tmp_path)

    def script(name: str) -> ModuleType:
        module = importlib.import_module(name)
        if "measure" in vars(module):  # a script that times processes of its own has none
            monkeypatch.setattr(module, "measure", untimed)
        return module

    yield script


def written(folder: Path) -> dict[str, Any]:
    """The one result in a folder."""
    (file,) = folder.glob("*.json")
    return json.loads(file.read_text())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_measures_nothing_when_it_is_imported(load: Load, tmp_path: Path, name: str) -> None:
    load(name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["attribution", "patch_grid"])
def test_sides_of_a_causal_benchmark_agree(load: Load, tmp_path: Path, name: str) -> None:
    load(name).compare("tiny")
    assert written(tmp_path)["targets"]


def test_sides_of_decoding_agree(load: Load, tmp_path: Path) -> None:
    load("decode").compare("tiny", 2, 1)
    assert {"reasonmech, steer", "reasonmech, clamp 2 TopK features"} <= {
        r["side"] for r in written(tmp_path)["rows"]
    }


def test_sides_of_capturing_agree(load: Load, tmp_path: Path) -> None:
    folder = tmp_path / "stores"
    folder.mkdir()
    load("capture").compare("tiny", 16, 8, folder)
    assert len(written(tmp_path)["rows"]) == 4


@pytest.mark.parametrize(("case", "rows"), [("several_sites", 4), ("different_lengths", 5)])
def test_sides_of_capturing_a_corpus_agree(load: Load, tmp_path: Path, case: str, rows: int) -> None:
    folder = tmp_path / "stores"
    folder.mkdir()
    getattr(load("capture_corpus"), case)("tiny", 16, folder)
    assert len(written(tmp_path)["rows"]) == rows


@pytest.mark.parametrize("architecture", ["jumprelu", "topk"])
def test_sides_of_reading_features_agree(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    script = load("feature_reads")
    monkeypatch.setattr(script, "D_MODEL", 64)
    monkeypatch.setattr(script, "D_SAE", 1024)
    script.compare(architecture, tmp_path / "coder")
    assert written(tmp_path)["targets"][0]["limit"]


def test_sides_of_a_sweep_agree(load: Load, tmp_path: Path) -> None:
    script = load("sweep")
    script.compare("tiny", "all_tokens", {"all": slice(0, None)}, [])
    assert len(written(tmp_path)["rows"]) == 5


def test_a_compiled_step_decodes_the_same_and_ignores_a_later_hook(load: Load, tmp_path: Path) -> None:
    load("decode_compiled").compare(
        "tiny", 1, 1, backend="eager"
    )  # traced and guarded as ever, without a compiler
    assert any(note.endswith("ignored in silence.") for note in written(tmp_path)["notes"])


def test_a_missed_target_stays_on_the_page_beside_what_limits_it(load: Load, tmp_path: Path) -> None:
    table, render = importlib.import_module("_table"), importlib.import_module("_render")
    times = {"floor": [1.0, 1.0, 1.0], "ours": [2.0, 2.0, 2.0], "peer": [3.0, 3.0, 3.0]}
    targets = [
        table.Target("peer", "ours", at_least=1.2),
        table.Target("peer", "ours", at_least=5, limit="floor", because="the model has to run"),
        table.Target("ours", at_most=3),
    ]
    table.report("one", "P0. A case", times, floor="floor", targets=targets)
    page = render.page([written(tmp_path)])
    assert "2 of 3 targets are met" in page
    assert "1.50 | **missed**: floor by itself gets 3.00; the model has to run |" in page
    assert "| ours | 2.000 | 2.000 - 2.000 | 2.00 |" in page
