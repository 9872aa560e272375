"""Evidence as long rows, and a judgement opened again: the same, or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reasonmech.claims import Check, Evidence, Provenance, judge_evidence, load_judgement
from reasonmech.claims.saving import beside_table, evidence_from_table, evidence_table
from reasonmech.errors import CorruptFileError
from tests.unit.claims.made_evidence import made_evidence, made_outcomes, made_sharpening

N = 80
PROVENANCE = Provenance(
    "hash", "chain", "test", 3, 1, 224, "60 problems", "b", "t", ("abc (n = 3)",), {"x": "1"}
)


def evidence() -> Evidence:
    made = made_evidence(
        made_outcomes(0.2, 0.2, 1.0, 1.0, n=N),
        sharpening=made_sharpening(N, temperature=0.5, left=0.7, differs=0.1, tempered=0.3),
        execution={"step": (0.9, 0.9), "check": (0.5, 0.7)},
        checks=(Check("clean run twice", passed=True, detail="0 of 80 texts differ"),),
    )
    rng = np.random.default_rng(0)
    return replace(
        made,
        arms={"full": rng.integers(0, 2, N).astype(float)},
        leak={0: np.zeros(N), 16: np.ones(N)},
        coalitions={(): np.zeros(N), ("check", "executor"): np.ones(N)},
        same={"tb = thinking": rng.integers(0, 2, N).astype(float)},
        notes=("12 % were cut off",),
        provenance=PROVENANCE,
    )


def test_evidence_survives_its_table() -> None:
    made = evidence()
    again = evidence_from_table(evidence_table(made), json.loads(json.dumps(beside_table(made))))
    assert evidence_table(again).equals(evidence_table(made))
    assert again.provenance == PROVENANCE and again.notes == made.notes and again.checks == made.checks
    assert again.problems == made.problems and set(again.coalitions) == {(), ("check", "executor")}
    assert judge_evidence(again).to_json() == judge_evidence(made).to_json()


def test_a_table_of_before_the_thinking_model_had_more_room_is_judged_as_it_was() -> None:
    made = evidence()
    table = evidence_table(made)
    older = table[~table.condition.str.endswith("/roomy_thinking") & (table.measure != "cut off")]
    assert len(older) == len(table) - 6 * N
    again = evidence_from_table(older, json.loads(json.dumps(beside_table(made))))
    for outcomes in again.outcomes.values():
        assert outcomes.roomy_thinking is outcomes.endless_base is outcomes.endless_thinking is None
    assert judge_evidence(again).verdict == judge_evidence(made).verdict
    assert "twice the tokens for the base" in judge_evidence(again).finding("length").reason


def test_the_table_has_a_row_per_problem_and_quantity() -> None:
    table = evidence_table(evidence())
    assert list(table.columns) == ["pair", "measure", "condition", "problem", "value"]
    assert not table.duplicated(["measure", "condition", "problem"]).any()
    counts = table.groupby(["measure", "condition"]).size()
    assert set(counts) == {N} and ("right", "greedy/tb") in counts and ("forced", "check/n") in counts


def written(directory: Path, verdict: str) -> Path:
    made = evidence()
    evidence_table(made).to_parquet(directory / "evidence.parquet")
    record = {"registration": {"rule": {}}, "evidence": beside_table(made)}
    (directory / "record.json").write_text(json.dumps(record))
    (directory / "judgement.json").write_text(json.dumps({"verdict": verdict}))
    return directory


def test_a_judgement_whose_evidence_says_otherwise_is_refused(tmp_path: Path) -> None:
    verdict = judge_evidence(evidence()).verdict
    assert load_judgement(written(tmp_path, verdict)).verdict == verdict != "FORMAT"
    (tmp_path / "judgement.json").write_text(json.dumps({"verdict": "FORMAT"}))
    with pytest.raises(CorruptFileError, match=f"says FORMAT, and its evidence says {verdict}"):
        load_judgement(tmp_path)


def test_a_directory_without_a_judgement_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match=r"record\.json cannot be read"):
        load_judgement(tmp_path)


def test_claims_are_those_of_the_split_that_was_judged() -> None:
    assert {finding.claim.split for finding in judge_evidence(evidence()).findings} == {"test"}


def test_evidence_that_was_judged_by_claims_of_before_loads_with_both_verdicts(tmp_path: Path) -> None:
    verdict = judge_evidence(evidence()).verdict
    home = written(tmp_path, "FORMAT")
    record = json.loads((home / "record.json").read_text())
    record["registration"] |= {"claims": {"C9": "hash of another wording"}, "split": "test"}
    (home / "record.json").write_text(json.dumps(record))
    judgement = load_judgement(home)
    assert judgement.verdict == verdict
    assert any("recorded as FORMAT" in note and verdict in note for note in judgement.evidence.notes)


def test_evidence_of_before_answers_were_counted_has_none() -> None:
    made = evidence()
    table = evidence_table(made)
    without = table[table["condition"] != "most frequent answer"]
    assert evidence_from_table(without, beside_table(made)).constant is None
    kept = replace(made, constant=np.r_[np.ones(10), np.zeros(N - 10)])
    again = evidence_from_table(evidence_table(kept), beside_table(kept))
    assert again.constant is not None and np.array_equal(again.constant, kept.constant)
