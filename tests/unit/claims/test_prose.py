"""A pair on a task of prose, whose kinds are learnt first tokens and whose steps nothing reads, is judged."""

from __future__ import annotations

import json
from pathlib import Path

import reasonmech as rm
from reasonmech.behaviours import OnsetSet, OnsetSets
from reasonmech.claims.evidence import DECODINGS
from reasonmech.claims.judgement import judge_evidence
from reasonmech.claims.measuring import Extent, Questions, measure_evidence
from reasonmech.hosts.words import onset_tokens
from reasonmech.stats import Interval
from tests.layouts import layout, layout_host


def test_prose_is_judged_without_the_guesses(tmp_path: Path) -> None:
    rows = [{"question": f"What is {i} + 1? 🙂", "answer": i + 1} for i in range(200)]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    sure, tokens = Interval(1.0, 1.0, 1.0), onset_tokens(layout("qwen2"), "Wait")
    nulls = (0.1, (0.1, 0.1), (0.1, 0.1), 0.01)
    learnt = OnsetSet("words:venhoff/backtracking", "lexical", tokens, sure, sure, *nulls, 9, 9, 9)
    OnsetSets((learnt,), {}).save(tmp_path / "onsets.json")
    task = f"jsonl:{tmp_path}/q.jsonl?onsets={tmp_path}/onsets.json"
    pair = rm.load_pair(base=layout_host("qwen2"), thinking=layout_host("qwen2", seed=1))
    extent = Extent(6, fitting=6, repeated=2, max_new_tokens=16)
    questions = Questions.drawn(task, extent, split="test", seed=0)
    evidence = measure_evidence(pair, questions, extent=extent, progress=False)
    assert all(evidence.outcomes[decoding].verified is None for decoding in DECODINGS)
    assert any("nothing reads the steps" in note for note in evidence.notes)
    judgement = judge_evidence(evidence, rm.claims.Terms().rule)
    assert judgement.verdict in ("INCONCLUSIVE", "INVALID")
