"""How far words agree with behaviours: kappa, its interval, its table, and where it has none."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from reasonmech.behaviours import agreement
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.metrics import agreement_table
from reasonmech.metrics.agreement_table import COLUMNS
from reasonmech.rollout import Rollouts
from reasonmech.stats.kappa import agreement_of, kappas
from reasonmech.tasks.chain import ONSET_WORDS, make_problem
from reasonmech.tasks.chain.parser import parse
from tests.unit.tasks.chain_text import CAREFUL, GUESS, rollout, trace

SILENT = CAREFUL.replace("wait , redo :", "redo :")
FILLER = (
    CAREFUL.replace("wait , redo : 8 + 4 = 2 . ", "wait for me , said mia . ")
    .replace("2 * 3 = 6", "5 * 3 = 5")
    .replace("[6]", "[5]")
)


def test_kappa_and_its_draws_are_those_of_the_libraries() -> None:
    rng = np.random.default_rng(0)
    tables = rng.integers(1, 40, (50, 4))
    for table, ours in zip(tables, kappas(tables.astype(float)), strict=True):
        both, first, second, neither = table
        theirs = cohens_kappa(np.array([[neither, second], [first, both]]), return_results=False)
        assert ours == pytest.approx(float(theirs), abs=1e-12)  # the same ratio, summed in another order
        a = np.repeat([True, True, False, False], table)
        b = np.repeat([True, False, True, False], table)
        found = agreement_of(a, b, problems=np.arange(len(a)) % 7, draws=10)
        assert found.kappa == cohen_kappa_score(a, b)
        assert (found.both, found.only_first, found.only_second, found.neither) == tuple(table)
        assert found.n == table.sum() and found.problems == 7


def test_the_interval_covers_the_truth_when_problems_differ() -> None:
    """Simulated problems, each with its own rate of yes; the second labeller flips a fifth of the first's
    labels."""
    rng, covered, runs = np.random.default_rng(1), 0, 120
    rates, flip = np.array([0.1, 0.3, 0.7]), 0.2
    yes = rates.mean()
    observed, second = 1 - flip, yes * (1 - flip) + (1 - yes) * flip
    expected = yes * second + (1 - yes) * (1 - second)
    truth = (observed - expected) / (1 - expected)
    for run in range(runs):
        problem = np.repeat(np.arange(80), 8)
        a = rng.random(640) < rates[rng.integers(0, 3, 80)][problem]
        b = a ^ (rng.random(640) < flip)
        found = agreement_of(a, b, problems=problem, draws=400, seed=run)
        assert found.low is not None and found.high is not None and found.low < found.high
        covered += found.low <= truth <= found.high
    assert 0.88 <= covered / runs <= 0.99, (
        "95 % nominal; three binomial standard errors of 120 runs are 6 points"
    )


def test_what_is_undefined_is_none_with_its_reason() -> None:
    constant = agreement_of([False] * 4, [False] * 4, problems=list("abcd"))
    assert (
        constant.kappa is None
        and constant.low is None
        and constant.why_none == "both labellers said no to all 4 items"
    )
    assert "undefined" in str(constant)
    one_sided = agreement_of([True, False, True, False], [False] * 4, problems=list("abcd"))
    assert one_sided.kappa == 0.0 and one_sided.low is None and "problems with a yes: 2" in one_sided.why_none
    everywhere = agreement_of([True] * 9 + [False], [True] * 10, problems=list("abcdefghij"))
    assert "problems with a no: 1" in everywhere.why_none
    with pytest.raises(DataError, match="at least one item"):
        agreement_of([], [], problems=[])
    with pytest.raises(DataError, match="one label of each labeller"):
        agreement_of([True], [True, False], problems=["a", "b"])


def test_a_marker_free_repair_and_a_filler_part_the_word_from_the_deed() -> None:
    together = agreement([trace(CAREFUL)], "backtrack", onset_words=ONSET_WORDS)
    assert (together.both, together.only_first, together.only_second, together.neither) == (1, 0, 0, 6)
    assert together.kappa == 1.0 and "no interval" in together.why_none
    silent = agreement([trace(SILENT)], "backtrack", onset_words=ONSET_WORDS)
    assert (silent.both, silent.only_first, silent.only_second) == (0, 1, 0) and silent.kappa == 0.0
    filler = agreement([trace(FILLER)], "backtrack", onset_words=ONSET_WORDS)
    assert (filler.both, filler.only_first, filler.only_second) == (0, 0, 1) and filler.kappa == 0.0


def test_the_trigger_words_are_those_of_the_task() -> None:
    swapped = dict(ONSET_WORDS, backtrack="redo")
    assert agreement([trace(SILENT)], "backtrack", onset_words=swapped).kappa == 1.0
    assert agreement([trace(FILLER)], "backtrack", onset_words=swapped).kappa is None, "nobody says yes"
    wordless = {kind: word for kind, word in ONSET_WORDS.items() if kind != "backtrack"}
    assert agreement([trace(CAREFUL)], "backtrack", onset_words=wordless).kappa == 0.0, (
        "it happens, and has no word"
    )


def test_agreement_refuses_what_it_cannot_label() -> None:
    with pytest.raises(UnknownNameError, match="backtrack"):
        agreement([trace(GUESS)], "backtracking", onset_words=ONSET_WORDS)
    with pytest.raises(DataError, match="no sentence"):
        agreement([], "backtrack", onset_words=ONSET_WORDS)


def test_the_table_has_a_row_per_model_and_behaviour() -> None:
    operations = [("+", 4), ("*", 3), ("-", 1)]
    problems = [make_problem(8, operations, id=f"hand/{i}") for i in range(6)]
    careful = Rollouts([rollout(CAREFUL, problem=p) for p in problems], task="chain")
    silent = Rollouts(
        [rollout(SILENT if i % 2 else CAREFUL, problem=p) for i, p in enumerate(problems)], task="chain"
    )
    table = agreement_table({"base": careful, "thinking": silent}, draws=200)
    assert list(table.groupby("model")["behaviour"].count()) == [6, 6]
    assert tuple(table.columns) == COLUMNS
    rows = table.set_index(["model", "behaviour"])
    assert rows.loc[("base", "backtrack"), ["kappa", "low", "high"]].tolist() == [1.0, 1.0, 1.0]
    cell = rows.loc[("thinking", "backtrack")]
    assert (cell["both"], cell["only_functional"], cell["only_lexical"], cell["problems"]) == (3, 3, 0, 6)
    expected = agreement([parse(r) for r in silent], "backtrack", onset_words=ONSET_WORDS, draws=200)
    assert (cell["kappa"], cell["low"], cell["high"]) == (expected.kappa, expected.low, expected.high)
    assert cell["low"] < cell["kappa"] < cell["high"] and cell["word"] == "wait" and cell["functional"]
    assert (
        np.isnan(rows.loc[("base", "plan"), "kappa"]) and "said no" in rows.loc[("base", "plan"), "why_none"]
    )
    assert not rows.loc[("base", "uncertain"), "functional"]
