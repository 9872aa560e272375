"""The benchmarks: on small sizes every side of each computes the same (they assert it), and every miss says
why."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
Load = Callable[[str], ModuleType]
# in place of the sizes that are worth timing; rows still fill several batches, the last of them in part
SMALL = {
    "attribution": {"TEXTS": 2, "LENGTH": 16, "TRIED": 6},
    "decode": {"PROMPT": 8, "NEW": 12},
    "decode_compiled": {"PROMPT": 8, "NEW": 12},
    "hybrid": {"PROMPT": 12, "NEWS": {"tiny": 12}, "ROWS": {"tiny": 8}},
    "patch_grid": {"LENGTHS": {"tiny": 8}, "ROWS": 12},
    "sweep": {"TEXTS": 3, "LENGTH": 16, "AXES": 3, "ROWS": 10},
}


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
        for imported in SMALL.keys() & sys.modules.keys():  # the script and what it imports
            for constant, size in SMALL[imported].items():
                monkeypatch.setattr(sys.modules[imported], constant, size)
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


def test_sides_of_a_hybrid_agree(load: Load, tmp_path: Path) -> None:
    load("hybrid").compare("tiny")
    result = written(tmp_path)
    assert len(result["rows"]) == 5 and "of the tokens are steered" in result["notes"][0]


def test_vectors_from_a_store_are_those_of_memory_in_the_benchmark(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load("category_vectors")
    for side in (script.MEMORY, script.STORE):
        script.once("tiny", 16, side)
    memory, store = (float(line.split("\t")[-1]) for line in capsys.readouterr().out.splitlines())
    assert memory > 0 and memory == pytest.approx(store, rel=1e-3)


def test_the_script_for_a_card_runs_on_tiny_sizes_and_keeps_nothing_of_them(
    load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load("gpu").main(smoke=True)
    told = capsys.readouterr().out
    for part in ("capture of 32 tokens, bf16", "decoding 4 rows x 4 tokens", "hybrid of 2 rows", "done in"):
        assert part in told
    assert not list(tmp_path.iterdir())


def test_the_page_says_that_no_card_was_there(load: Load, tmp_path: Path) -> None:
    table, render = importlib.import_module("_table"), importlib.import_module("_render")
    for name in ("one", "gpu_capture_random"):
        page_before = render.page([json.loads(file.read_text()) for file in tmp_path.glob("*.json")])
        assert "has not been run on a card" in page_before
        table.report(name, "P0. A case", {"floor": [1.0, 1.0]}, floor="floor")
    page = render.page([json.loads(file.read_text()) for file in tmp_path.glob("*.json")])
    assert "has not been run" not in page
