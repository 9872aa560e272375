"""Categories of real text go through a whole run as a world's behaviours do, on a host of another layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import reasonmech as rm
from reasonmech.behaviours import learn_onset_sets
from reasonmech.hosts import ModelPair
from reasonmech.taxonomies.text import Category, Taxonomy, taxonomies
from tests.layouts import layout_host

EARLY, LATE = "words:alphabet/early", "words:alphabet/late"
ALPHABET = Taxonomy(
    "alphabet",
    "this test: what a random model writes, too, begins with some letter",
    (
        Category("early", "It begins with one of the first letters.", (r"^\W*[a-m]",)),
        Category("late", "It begins with one of the last letters.", (r"^\W*[n-z]",)),
    ),
)


@pytest.fixture
def alphabet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(taxonomies, "_entries", {**taxonomies._entries, "alphabet": ALPHABET})
    yield


@pytest.mark.slow
def test_a_run_takes_categories_where_it_takes_behaviours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alphabet: None
) -> None:
    monkeypatch.chdir(tmp_path)
    pair = ModelPair("random", layout_host("qwen2"), layout_host("qwen2", seed=1))
    questions = [{"question": f"What is {i} + {i + 1}?", "answer": str(2 * i + 1)} for i in range(200)]
    Path("q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    plain = rm.load_task("jsonl:q.jsonl?grading=exact", n=40, split="train")
    decode = rm.Decode(max_new_tokens=48, temperature=1.0)
    traces = rm.parse(rm.generate(pair.base, plain, decode=decode, progress=False))
    onsets = learn_onset_sets(traces, [EARLY, LATE])
    assert not onsets.missing, onsets.missing
    onsets.save("onsets.json")
    stages = [
        {"kind": "rollouts", "n": 80, "samples": 6, "study_samples": 2, "behaviours": [EARLY]},
        {"kind": "coders", "configs": {"topk": ["resid_post.1"]}, "steps": 40, "documents": 20},
        {"kind": "locate", "behaviours": [EARLY, LATE], "searches": [{}, {"score": "hazard"}], "draws": 50},
        {"kind": "compare", "behaviours": [EARLY], "rows": 400, "draws": 50},
        {"kind": "groups", "sizes": {EARLY: 2}, "rollouts": 10, "tries": 2},
        {"kind": "kept", "rollouts": 10, "draws": 50},
        {"kind": "ladder", "rows": 200, "draws": 50},
        {"kind": "study", "rollouts": 10, "doses": [2.0]},
        {"kind": "arms", "site": "resid_post.1", "vectors": {"steps": 5, "min_count": 1}, "tuning": 4},
    ]
    config = {
        "name": "categories",
        "pair": "tiny-when",
        "task": {"kind": "jsonl:q.jsonl?grading=exact&onsets=onsets.json", "n": 16},
        "decode": {"max_new_tokens": 48},
        "stages": stages,
    }
    Path("trial.yaml").write_text(yaml.safe_dump(config))
    run = rm.run("trial.yaml", pair=pair, out="out", progress=False)
    assert set(run.features.behaviour) == {EARLY, LATE}
    assert set(run.features.definition) == {"lexical"}
    assert {"base", "thinking", "full", "takeover"} <= set(run.results.condition)
    page = rm.report(run).read_text()
    assert "words:alphabet/early (lexical)" in page
