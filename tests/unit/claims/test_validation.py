"""Simulated pairs: their truth, evidence that is drawn of them, and how often a verdict is wrong."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from reasonmech.claims import Evidence, Rule, judge_evidence
from reasonmech.claims.evidence import CELLS
from reasonmech.claims.measuring import integrity
from reasonmech.claims.validation import (
    DECIDED,
    POPULATIONS,
    PUBLISHED,
    CaseSize,
    ErrorRates,
    TabularCase,
    draw_all,
    draw_row,
    draws,
    save_draws,
    simulate_exhibit,
    truth_of,
)
from reasonmech.claims.validation.error_rates import OURS
from reasonmech.claims.validation.simulated_checks import FAULTS
from reasonmech.claims.validation.truth import ExactCase
from reasonmech.cli.app import app
from reasonmech.errors import DataError, OutputError, UnknownNameError
from reasonmech.simulators import Hazards, ReasonerWorld, Skills, TabularModel

ABLE = Skills(0.98, 0.98, 0.98, 0.99, guess=0.1)
CARELESS, CAREFUL = Hazards(0.9, 0.1, 0.2), Hazards(0.99, 0.98, 0.99)
BASE, THINKING = TabularModel(CARELESS, ABLE), TabularModel(CAREFUL, ABLE)
WORLD, QUIET = ReasonerWorld(), ReasonerWorld(slip=0.08)
WHEN = TabularCase(BASE, THINKING, WORLD)
HOW = TabularCase(TabularModel(CAREFUL, replace(ABLE, step=0.3, check=0.4, backtrack=0.3)), THINKING, WORLD)
SMALL = CaseSize(problems=60, samples=2)


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        (WHEN, "WHEN"),
        (HOW, "HOW"),
        (
            replace(HOW, base=TabularModel(Hazards(0.9, 0.1, 0.2), replace(ABLE, step=0.6)), world=QUIET),
            "BOTH",
        ),
        (TabularCase(BASE, BASE, WORLD), "NEITHER"),
        (TabularCase(BASE, BASE.tempered(0.5), WORLD), "SHARPENED"),
        (replace(WHEN, base=TabularModel(CAREFUL, replace(ABLE, conclude=0.2))), "FORMAT"),
        (replace(HOW, leak=0.9), "HOW"),  # a flaw of the splice is no truth of the pair
    ],
)
def test_the_truth_of_a_case_is_that_of_its_making(case: TabularCase, verdict: str) -> None:
    truth = truth_of(case)
    assert truth.verdict == verdict and truth.clear and truth.allowed == {verdict}


def test_a_small_effect_is_not_clear_and_allows_what_is_near_it() -> None:
    models = (TabularModel(CARELESS, replace(ABLE, step=step)) for step in (0.95, 0.978))
    little = TabularCase(*models, WORLD)
    assert 0.05 < ExactCase(little).outcomes["greedy"].gap < 0.052
    truth = truth_of(little)
    assert not truth.clear and truth.allowed == {"HOW", "NEITHER"}


@pytest.mark.parametrize("case", [WHEN, HOW])
def test_evidence_is_drawn_around_the_exact_numbers(case: TabularCase) -> None:
    evidence = simulate_exhibit(case, name="drawn", seed=3, size=CaseSize(problems=4000)).evidence
    for decoding, exact in truth_of(case).splits.items():
        cells = evidence.outcomes[decoding].cells
        for name in CELLS:
            values, truth = getattr(cells, name), getattr(exact, name)
            assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values)) + 1e-12, name
    measured = evidence.sharpening
    assert measured is not None
    assert measured.kl.mean() == pytest.approx(ExactCase(case).sharpening.kl, rel=0.05)
    assert measured.argmax_differs.mean() == pytest.approx(ExactCase(case).sharpening.argmax, rel=0.05)
    step = evidence.execution["step"]
    for side, model in (("base", case.base), ("thinking", case.thinking)):
        skill = model.at(1.0).execution.step
        assert abs(getattr(step, side).sum() / step.n.sum() - skill) < 4 * np.sqrt(skill * (1 - skill) / 8000)


def test_a_leak_is_measured_and_its_onsets_hand_over_execution() -> None:
    plain, leaking = (
        simulate_exhibit(replace(HOW, leak=leak), name="x", seed=1, size=SMALL).evidence
        for leak in (0.0, 0.9)
    )
    assert leaking.outcomes["greedy"].cells.tb.mean() > plain.outcomes["greedy"].cells.tb.mean() + 0.2
    assert np.array_equal(leaking.outcomes["greedy"].cells.bt, plain.outcomes["greedy"].cells.bt)


def test_a_row_depends_on_its_number_alone() -> None:
    first, again, other = (draw_row("sham", number, size=SMALL) for number in (4, 4, 5))
    assert first == again and first["reason"] != other["reason"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return draw_all(draws=2, seed=1, progress=False)


def test_hardly_a_verdict_is_wrong_and_most_clear_cases_have_theirs(frame: pd.DataFrame) -> None:
    rates = ErrorRates(frame)
    assert len(frame) == 2 * len(POPULATIONS) and rates.matrix().sum().sum() == len(frame)
    assert rates.wrong().estimate <= 1 / len(frame)
    for verdict in DECIDED:
        false, sensitivity = rates.rates(verdict)
        assert false is not None and false.estimate <= 1 / 30
        assert sensitivity is not None and sensitivity.estimate >= 0.75, verdict


@pytest.mark.parametrize(
    ("population", "verdict", "otherwise"),
    [("length lost", "FORMAT", "WHEN"), ("both cut off", "INCONCLUSIVE", "NEITHER")],
)
def test_texts_of_a_thinking_model_that_are_cut_off_are_no_cause(population, verdict, otherwise) -> None:
    """Evidence that only gives the base more room calls them one, or says that there is nothing."""
    verdicts: dict[bool, list[str]] = {True: [], False: []}
    for number in range(6):
        case, truth = POPULATIONS[population].case(np.random.default_rng(number))
        evidence = simulate_exhibit(case, name=population, seed=number).evidence
        assert truth.verdict == verdict
        older = {"roomy_thinking": None, "endless_base": None, "endless_thinking": None}
        blind = {name: replace(outcomes, **older) for name, outcomes in evidence.outcomes.items()}
        verdicts[True].append(judge_evidence(evidence).verdict)
        verdicts[False].append(judge_evidence(replace(evidence, outcomes=blind)).verdict)
    assert set(verdicts[True]) == {verdict} and otherwise in verdicts[False]


def test_texts_that_never_end_are_no_cause() -> None:
    """Evidence in which what is cut off at twice the room, too, is just wrong has a cause."""
    verdicts: dict[bool, set[str]] = {True: set(), False: set()}
    for number in range(6):
        case, truth = POPULATIONS["never ending"].case(np.random.default_rng(number))
        evidence = simulate_exhibit(case, name="never ending", seed=number).evidence
        assert truth.verdict == "INCONCLUSIVE" and truth.clear
        blind = {
            name: replace(outcomes, endless_base=None, endless_thinking=None)
            for name, outcomes in evidence.outcomes.items()
        }
        verdicts[True].add(judge_evidence(evidence).verdict)
        verdicts[False].add(judge_evidence(replace(evidence, outcomes=blind)).verdict)
    assert verdicts[True] == {"INCONCLUSIVE"} and verdicts[False] == {"NEITHER"}


@cache
def sound_evidence(case: TabularCase, seed: int) -> Evidence:
    return simulate_exhibit(case, name="x", seed=seed, size=SMALL).evidence


@cache
def sound_verdict(case: TabularCase, seed: int) -> str:
    return judge_evidence(sound_evidence(case, seed)).verdict


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("case", [WHEN, HOW], ids=["when", "how"])
def test_a_measurement_with_a_fault_is_invalid_and_says_which(case: TabularCase, fault: str) -> None:
    """Of every seed; and the same measurement without the fault has its verdict."""
    for seed in range(4):
        evidence = simulate_exhibit(replace(case, fault=fault), name="x", seed=seed, size=SMALL).evidence
        failed = [check.name for check in evidence.checks if not check.passed]
        assert any(fault in name for name in failed), failed
        judgement = judge_evidence(evidence)
        assert judgement.verdict == "INVALID" and fault in judgement.reason
        sound = sound_evidence(case, seed)
        assert all(check.passed for check in sound.checks) and len(sound.checks) == len(evidence.checks) == 7
        assert sound_verdict(case, seed) != "INVALID"
    assert truth_of(replace(case, fault=fault)).verdict == "INVALID"


def test_every_check_of_a_simulator_is_one_of_a_measured_pair() -> None:
    measured = inspect.getsource(integrity)
    assert all(fault in measured for fault in FAULTS)


def test_a_rule_that_overlooks_a_third_is_caught() -> None:
    """The same evidence under a rule that calls causes of up to 75 % minor ones, and no execution better."""
    wrong = 0
    for number in range(3):
        case, truth = POPULATIONS["both"].case(np.random.default_rng(number))
        evidence = simulate_exhibit(case, name="both", seed=number).evidence
        right = (*truth.allowed, "INCONCLUSIVE")
        assert judge_evidence(evidence).verdict in right
        wrong += judge_evidence(evidence, Rule(minor=0.75, execution=0.99)).verdict not in right
    assert wrong >= 2


def test_published_rules_say_when_of_pairs_that_are_something_else(frame: pd.DataFrame) -> None:
    rates, ours = ErrorRates(frame), ErrorRates(frame).when(OURS)
    assert ours is not None and ours.false is not None and ours.false.estimate == 0.0
    crossing = rates.when("pass@256 crosses")
    assert crossing is not None and crossing.false is not None
    assert crossing.false.low > ours.false.high
    assert rates.false_by_population("hybrid recovers >= 50 %")["length"] == 1.0
    assert rates.when("<= 30 % of bf16 weights move") is None  # no weights, no answer
    assert {rule.name for rule in PUBLISHED} <= set(frame.columns)


def test_the_judged_share_follows_the_dial(frame: pd.DataFrame) -> None:
    for decoding in ("greedy", "sampled"):
        slope, intercept, n = ErrorRates(frame).dial(decoding)
        assert n >= 5 and 0.9 < slope.estimate < 1.1 and abs(intercept) < 0.1


def test_a_killed_validation_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {name: POPULATIONS[name] for name in ("when", "same")}
    monkeypatch.setattr(draws, "POPULATIONS", chosen)
    drawn, made = draws.draw_row, []

    def dies(population: str, number: int, **settings: object) -> dict[str, object]:
        if (population, number) == ("same", 1):
            raise KeyboardInterrupt
        made.append((population, number))
        return drawn(population, number, **settings)

    monkeypatch.setattr(draws, "draw_row", dies)
    with pytest.raises(KeyboardInterrupt):
        save_draws(tmp_path / "v", draws=2, size=SMALL, progress=False)
    monkeypatch.setattr(draws, "draw_row", lambda *a, **k: made.append(a) or drawn(*a, **k))
    frame = save_draws(tmp_path / "v", draws=2, size=SMALL, progress=False)
    assert made.count(("when", 0)) == 1 and made[-2:] == [("same", 0), ("same", 1)]
    whole = save_draws(tmp_path / "w", draws=2, size=SMALL, progress=False)
    pd.testing.assert_frame_equal(frame, whole)
    pd.testing.assert_frame_equal(save_draws(tmp_path / "v", draws=2, size=SMALL, progress=False), whole)
    assert sorted(p.name for p in (tmp_path / "v").glob("block*")) == []
    with pytest.raises(OutputError, match="draws: 2, now 3"):
        save_draws(tmp_path / "v", draws=3, size=SMALL, progress=False)


def test_wrong_numbers_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 draws"):
        save_draws(tmp_path / "v", draws=0)
    with pytest.raises(UnknownNameError, match="whem"):
        draw_all(draws=1, populations=("whem",), progress=False)


def test_the_command_prints_the_matrix_with_its_intervals(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draws, "save_draws", lambda *arguments, **settings: frame)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(
        app, ["validate", "--draws", "2", "--out", str(tmp_path / "v")]
    )
    assert result.exit_code == 0, result.output
    for text in (
        "interaction",
        "SHARPENED",
        "said where it is not true",
        "pass@256 crosses",
        "dial from HOW",
        "invalid (INVALID)",
        "never ending (INCONCLUSIVE)",
    ):
        assert text in result.output
    rows = {line.split("│")[1].strip(): line for line in result.output.splitlines() if line.count("│") > 3}
    for rule, needs in (
        ("a feature of top ReasonScore", "a coder of the base"),
        ("crosscoder norm ratio", "a crosscoder of the pair"),
    ):
        assert "not applicable" in rows[rule] and f"needs {needs}: simulated pairs have none" in rows[rule]
    assert "INVALID" in rows and rows["INVALID"].count("%") == 2


@pytest.mark.parametrize("population", ["opposite", "latent"])
def test_what_has_no_word_gets_none(population: str) -> None:
    """Factors that pull against each other are no BOTH; right beyond any one answer is no guess."""
    for number in range(6):
        case, truth = POPULATIONS[population].case(np.random.default_rng(number))
        assert truth.verdict == "INCONCLUSIVE" and truth.clear
        judgement = judge_evidence(simulate_exhibit(case, name=population, seed=number).evidence)
        assert judgement.verdict == "INCONCLUSIVE", judgement.reason


def test_a_near_tie_that_greedy_decoding_decides_is_no_temperature() -> None:
    case, truth = POPULATIONS["near tie"].case(np.random.default_rng(0))
    exact = ExactCase(case)
    assert exact.sharpening.argmax < 0.02 and exact.sharpening.left < 0.1
    assert abs(exact.sharpening.accuracy) < 0.05 < abs(exact.outcomes["greedy"].gap)
    assert "SHARPENED" not in truth.allowed
    judgement = judge_evidence(simulate_exhibit(case, name="near tie", seed=0).evidence)
    assert judgement.verdict in (*truth.allowed, "INCONCLUSIVE")
