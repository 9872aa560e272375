"""How far words agree with behaviours: the 2x2 table of a behaviour, and the table of a pair."""

from __future__ import annotations

import numpy as np
import pytest

from reasonmech.behaviours import agreement
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.metrics import agreement_table
from reasonmech.metrics.agreement_table import COLUMNS
from reasonmech.rollout import Rollouts
from reasonmech.tasks.chain import ONSET_WORDS, make_problem
from reasonmech.tasks.chain.parser import parse
from tests.unit.tasks.chain_text import CAREFUL, GUESS, rollout, trace

SILENT = CAREFUL.replace("wait , redo :", "redo :")
FILLER = (
    CAREFUL.replace("wait , redo : 8 + 4 = 2 . ", "wait for me , said mia . ")
    .replace("2 * 3 = 6", "5 * 3 = 5")
    .replace("[6]", "[5]")
)


def test_a_repair_without_its_word_and_a_filler_are_disagreements() -> None:
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


def test_agreement_of_an_unknown_behaviour_or_of_no_sentence_raises() -> None:
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
    assert rows.loc[("base", "backtrack"), ["kappa", "high"]].tolist() == [1.0, 1.0]
    assert rows.loc[("base", "backtrack"), "low"] < 0.5  # six problems do not exclude a seventh that differs
    cell = rows.loc[("thinking", "backtrack")]
    assert (cell["both"], cell["only_functional"], cell["only_lexical"], cell["problems"]) == (3, 3, 0, 6)
    expected = agreement([parse(r) for r in silent], "backtrack", onset_words=ONSET_WORDS, draws=200)
    assert (cell["kappa"], cell["low"], cell["high"]) == (expected.kappa, expected.low, expected.high)
    assert cell["low"] < cell["kappa"] < cell["high"] and cell["word"] == "wait" and cell["functional"]
    assert (
        np.isnan(rows.loc[("base", "plan"), "kappa"]) and "said no" in rows.loc[("base", "plan"), "why_none"]
    )
    assert not rows.loc[("base", "uncertain"), "functional"]
