"""Moments, oracle, leak: what a WHEN says besides its factorial, and what takes it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from tqdm.auto import tqdm
from transformers import DynamicCache

import reasonmech as rm
from reasonmech.claims import Evidence, Extent, Questions, first_sentence, judge_evidence
from reasonmech.claims.evidence import ANOTHER, ORACLE_FREE, OWN, other_moments
from reasonmech.claims.measuring import moments as measuring
from reasonmech.claims.measuring.bench import Bench
from reasonmech.claims.measuring.moments import DRAWS, Controlled, measure_moments
from reasonmech.claims.measuring.runs import Runs
from reasonmech.claims.saving import beside_table, evidence_from_table, evidence_table
from reasonmech.errors import DataError
from reasonmech.hosts import ModelPair
from reasonmech.hybrid import Moment, OracleFreeGate, OracleFreeSelector, fit_onset_probe
from reasonmech.hybrid.rules import Schedule
from reasonmech.runtime.rerun import CleanPast
from tests.brief_problems import brief_problems
from tests.unit.claims.made_evidence import made_evidence, made_outcomes, shares

N = 300


def full(
    *cells: float,
    at_own: float,
    other: float,
    another: float | None = None,
    without: float = 0.2,
    leak: Mapping[int, float] | None = None,
    same: float = 0.5,
) -> Evidence:
    """Evidence of these cells, with arms of these accuracies; draws of the null lie about `other`."""
    rng = np.random.default_rng(0)
    arms = {OWN: shares(at_own, N), ANOTHER: shares(other if another is None else another, N)}
    for draw in range(DRAWS):
        arms[other_moments(draw)] = rng.permutation(shares(other + 0.002 * (draw % 5 - 2), N))
    arms[ORACLE_FREE] = shares(without, N)
    curve = {0: cells[0], 1: cells[2], 16: cells[3]} if leak is None else leak
    return replace(
        made_evidence(made_outcomes(*cells, n=N)),
        arms=arms,
        leak={m: shares(p, N) for m, p in curve.items()},
        same={"tb = thinking": shares(same, N)},
    )


WHEN = (0.2, 0.2, 0.95, 0.95)
HOW = (0.1, 1.0, 0.1, 1.0)

CASES = {
    "moments-and-no-oracle": (
        full(*WHEN, at_own=0.95, other=0.22, without=0.9), "WHEN",
        {"moments": "SUPPORTED", "oracle-free": "SUPPORTED", "leak": "SUPPORTED", "takeover": "REFUTED"},
        "keeps 93 % [",
    ),
    "an-oracle-is-needed": (
        full(*WHEN, at_own=0.95, other=0.22, without=0.25), "WHEN",
        {"oracle-free": "REFUTED"}, "but a controller that reads the base alone keeps no half of it (7 % [",
    ),
    "any-moment-does": (
        full(*WHEN, at_own=0.95, other=0.95, another=0.2), "INCONCLUSIVE",
        {"moments": "REFUTED"}, "the same kinds at other moments do as much",
    ),
    "those-of-another-problem-do": (
        full(*WHEN, at_own=0.95, other=0.2, another=0.95), "INCONCLUSIVE",
        {"moments": "REFUTED"}, "do as much",
    ),
    "further-words-are-needed": (
        full(*WHEN, at_own=0.95, other=0.22, leak={0: 0.2, 1: 0.5, 16: 0.95}), "INCONCLUSIVE",
        {"leak": "REFUTED"}, "more is handed over than a kind of sentence",
    ),
    "the-word-says-more-than-its-kind": (
        full(*HOW, at_own=0.1, other=0.1, leak={0: 0.1, 1: 1.0, 16: 1.0}), "HOW",
        {"leak": "REFUTED", "moments": "NOT MEASURED", "oracle-free": "NOT MEASURED"},
        "the first words of its sentences tell it, +90.0 [",
    ),
    "execution": (
        full(*HOW, at_own=0.1, other=0.1), "HOW",
        {"leak": "REFUTED", "moments": "NOT MEASURED", "takeover": "REFUTED"}, "that the base could not. Of",
    ),
    "taken-over": (
        full(*WHEN, at_own=0.95, other=0.22, without=0.9, same=1.0), "WHEN",
        {"takeover": "SUPPORTED"}, "writes the thinking model's own texts",
    ),
    "a-loss": (
        full(0.95, 0.95, 0.2, 0.2, at_own=0.2, other=0.9, without=0.25), "WHEN",
        {"moments": "SUPPORTED", "oracle-free": "SUPPORTED", "leak": "SUPPORTED"}, "when",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made", "verdict", "statuses", "words"), CASES.values(), ids=CASES.keys())
def test_a_when_says_what_else_is_true_of_it(made, verdict, statuses, words) -> None:
    judgement = judge_evidence(made)
    assert judgement.verdict == verdict, judgement.reason
    assert {name: judgement.finding(name).status for name in statuses} == statuses
    assert words in first_sentence(judgement)


def test_what_was_not_run_is_not_measured_and_leaves_the_sentence_as_it_was() -> None:
    judgement = judge_evidence(made_evidence(made_outcomes(*WHEN, n=N)))
    assert {judgement.finding(n).status for n in ("moments", "oracle-free", "leak", "takeover")} == {
        "NOT MEASURED"
    }
    assert "which kind of sentence to begin. Of" in first_sentence(judgement)


def test_arms_survive_their_table() -> None:
    made = CASES["moments-and-no-oracle"][0]
    again = evidence_from_table(evidence_table(made), beside_table(made))
    assert judge_evidence(again).to_json() == judge_evidence(made).to_json()
    assert again.other_moments().shape == (DRAWS, N)


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return rm.load_pair("tiny-when")


def bench_of(pair: ModelPair, n: int = 6) -> Bench:
    extent = Extent(n, fitting=6, max_new_tokens=90)
    questions = Questions.drawn("chain", extent, split="confirmation", seed=0)
    questions = replace(questions, judged=brief_problems("chain", n))
    return Bench(pair, questions, extent, Runs(None, tqdm(disable=True)))


@pytest.fixture(scope="module")
def bench(pair: ModelPair) -> Bench:
    return bench_of(pair)


def test_the_own_moments_write_the_splice_and_no_moments_the_base(pair, bench) -> None:
    controlled, spliced = Controlled.on(bench), bench.spliced("tb", "greedy")
    times = controlled.times(spliced)
    at_own = Schedule({row: text.sentences for row, text in times})
    nothing = Schedule({row: {} for row in times.rows})
    for schedule, expected in ((at_own, spliced), (nothing, bench.free("base", "greedy"))):
        written = rm.generate(
            controlled.hybrid(schedule, schedule),
            bench.problems,
            decode=bench.decode("greedy"),
            progress=False,
        )
        assert [r.ids for r in written] == [r.ids for r in expected]
    assert any(text.sentences for text in times.texts)


def test_a_kind_is_begun_in_the_bases_own_words(bench) -> None:
    executor = Controlled.on(bench).executor
    rows, kinds = torch.tensor([0, 2]), torch.tensor(executor.openings.categories[:2])
    logits = torch.randn(3, bench.pair.base.vocab_size)
    none, no_past = torch.zeros(3), CleanPast(DynamicCache(), *3 * [torch.zeros(3)])
    moment = Moment(logits, logits, none, none, none, none, none, none, none)
    steered = executor.execute(moment, no_past, rows, kinds)
    for i, row in enumerate(rows.tolist()):
        ids = executor.openings.tokens[i]
        assert steered[i].isfinite().nonzero()[:, 0].tolist() == ids.tolist()
        assert torch.equal(steered[i, ids], logits[row, ids])
    assert executor.covers(kinds).all()


def test_moments_are_measured_by_problem(bench, monkeypatch) -> None:
    monkeypatch.setattr(measuring, "DRAWS", 4)
    monkeypatch.setattr(measuring, "_TOGETHER", 2)
    moments = measure_moments(bench)
    assert len(moments.arms) == 4 + 3
    np.testing.assert_array_equal(moments.arms[OWN], bench.right(bench.spliced("tb", "greedy")))
    others = np.array([moments.arms[other_moments(draw)] for draw in range(4)])
    assert others.mean() < moments.arms[OWN].mean()
    assert any("oracle-free controller at resid_post" in note for note in bench.notes)


def test_a_pair_of_one_model_has_no_moments(pair) -> None:
    used = bench_of(ModelPair("same", pair.base, pair.base, "chain"), n=2)
    assert measure_moments(used).arms == {}
    assert any("no moments" in note for note in used.notes)


def test_a_controller_is_not_judged_on_what_it_was_fitted_on(pair, bench) -> None:
    controlled = Controlled.on(bench)
    probe = fit_onset_probe(pair.base, bench.free("thinking", "greedy"), controlled.kinds)
    with pytest.raises(DataError, match="fitted on problem"):
        controlled.right("own problems", OracleFreeGate(probe), OracleFreeSelector(probe))
