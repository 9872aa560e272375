"""Verdicts on evidence whose answer is plain: one row per situation that a pair can be in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reasonmech.claims import Check, Claim, Evidence, Rule, judge_evidence
from reasonmech.errors import DataError
from reasonmech.stats import Interval
from tests.unit.claims.made_evidence import made_evidence, made_outcomes, made_sharpening, shares

N = 300


def outcomes(*cells: float, **changed):
    return made_outcomes(*cells, n=changed.pop("n", N), **changed)


PLAIN = {
    "when": (outcomes(0.22, 0.20, 1.0, 1.0), "WHEN"),
    "how": (outcomes(0.13, 1.0, 0.13, 1.0), "HOW"),
    "both-and-neither-alone": (outcomes(0.14, 0.15, 0.13, 1.0), "BOTH"),
    "both-as-a-sum": (outcomes(0.2, 0.5, 0.6, 0.9), "BOTH"),
    "both-or-when": (outcomes(0.1, 0.24, 0.8, 0.94), "INCONCLUSIVE"),
    "nothing": (outcomes(0.21, 0.21, 0.21, 0.21), "NEITHER"),
    "format": (outcomes(1.0, 1.0, 1.0, 1.0, base=0.0, thinking=1.0, reached=(1.0, 1.0)), "FORMAT"),
    "length": (outcomes(0.3, 0.3, 1.0, 1.0, roomy=1.0), "FORMAT"),
    "length-of-the-thinking-model": (outcomes(1.0, 1.0, 0.2, 0.2, roomy_thinking=1.0), "FORMAT"),
    "part-of-a-loss-is-length": (outcomes(1.0, 1.0, 0.2, 0.2, roomy_thinking=0.6), "INCONCLUSIVE"),
    "a-gap-that-the-limit-hides": (
        outcomes(0.2, 0.2, 0.2, 0.2, roomy=0.3, roomy_thinking=0.9),
        "INCONCLUSIVE",
    ),
    "part-of-a-gap-hidden": (outcomes(0.2, 0.2, 0.5, 0.5, roomy_thinking=0.9), "INCONCLUSIVE"),
    "both-gain-alike": (outcomes(0.1, 0.1, 0.5, 0.5, roomy=0.5, roomy_thinking=0.9), "INCONCLUSIVE"),
    "both-gain-little": (outcomes(0.1, 0.1, 0.8, 0.8, roomy=0.12, roomy_thinking=0.82), "WHEN"),
    "no-gap-and-none-with-room": (outcomes(0.2, 0.2, 0.2, 0.2, roomy=0.7, roomy_thinking=0.7), "NEITHER"),
    "a-loss-of-texts-that-never-end": (outcomes(0.6, 0.6, 0.1, 0.1, endless_thinking=0.8), "INCONCLUSIVE"),
    "a-base-that-never-ends": (outcomes(0.1, 0.8, 0.1, 0.8, endless=0.6), "INCONCLUSIVE"),
    "few-never-end": (outcomes(0.1, 0.8, 0.1, 0.8, endless=0.03), "HOW"),
    "few-beside-the-gap-never-end": (outcomes(0.0, 1.0, 0.0, 1.0, endless=0.1), "HOW"),
    "no-gap-and-none-that-ends": (outcomes(0.2, 0.2, 0.2, 0.2, endless_thinking=0.3), "INCONCLUSIVE"),
    "a-gap-of-room-and-many-never-end": (
        outcomes(0.3, 0.3, 1.0, 1.0, roomy=0.97, endless=0.3),
        "INCONCLUSIVE",
    ),
    "stated-or-not-though-none-ends": (
        outcomes(1.0, 1.0, 1.0, 1.0, base=0.0, thinking=1.0, reached=(1.0, 1.0), endless=1.0),
        "FORMAT",
    ),
    "loss-of-how": (outcomes(1.0, 0.13, 1.0, 0.13), "HOW"),
    "loss-of-when": (outcomes(1.0, 1.0, 0.2, 0.2), "WHEN"),
    "gap-that-no-splice-has": (outcomes(0.9, 0.9, 0.95, 1.0, base=0.0), "INCONCLUSIVE"),
    "opposite": (outcomes(0.2, 0.15, 1.0, 0.6), "INCONCLUSIVE"),
    "opposite-loss": (outcomes(0.6, 1.0, 0.15, 0.2), "INCONCLUSIVE"),
    "opposite-that-cancels": (outcomes(0.5, 0.0, 1.0, 0.5), "INCONCLUSIVE"),
    "opposite-and-minor": (outcomes(0.1, 0.1, 0.95, 0.9), "WHEN"),
    "small-gap": (outcomes(0.50, 0.50, 0.56, 0.56), "INCONCLUSIVE"),
}


@pytest.mark.parametrize(("greedy", "verdict"), PLAIN.values(), ids=PLAIN.keys())
def test_plain_evidence_has_its_verdict(greedy, verdict) -> None:
    judgement = judge_evidence(made_evidence(greedy))
    assert judgement.verdict == verdict, judgement.reason
    assert judgement.reason


@pytest.mark.parametrize("name", ["when", "how", "nothing", "length", "loss-of-when"])
def test_evidence_without_more_room_for_the_thinking_model_is_judged_as_it_was(name) -> None:
    greedy, verdict = PLAIN[name]
    judgement = judge_evidence(made_evidence(replace(greedy, roomy_thinking=None)))
    assert judgement.verdict == verdict
    assert judgement.finding("length").reason.endswith("with twice the tokens for the base")


def test_what_more_room_gives_either_model_is_said() -> None:
    reason = judge_evidence(made_evidence(PLAIN["both-gain-alike"][0])).reason
    assert "the base gains +40.0" in reason and "the thinking model gains +40.0" in reason
    reason = judge_evidence(made_evidence(PLAIN["a-gap-that-the-limit-hides"][0])).reason
    assert "the limit may hide a gap: +60.0" in reason


def test_texts_that_are_cut_off_at_twice_the_tokens_are_counted_in_the_reason() -> None:
    judgement = judge_evidence(made_evidence(PLAIN["a-loss-of-texts-that-never-end"][0]))
    assert (
        "80 % [75, 84] of the thinking model's texts are cut off at twice the tokens, too" in judgement.reason
    )
    assert "part of the gap may be one of length" in judgement.reason
    assert (
        "the limit may hide a gap"
        in judge_evidence(made_evidence(PLAIN["no-gap-and-none-that-ends"][0])).reason
    )
    blind = replace(PLAIN["a-loss-of-texts-that-never-end"][0], endless_base=None, endless_thinking=None)
    assert judge_evidence(made_evidence(blind)).verdict == "WHEN"  # evidence of before they were counted


def test_few_problems_decide_nothing() -> None:
    made = made_evidence(made_outcomes(0.2, 0.2, 0.6, 0.6, n=12))
    assert judge_evidence(made).verdict == "INCONCLUSIVE"


def test_a_temperature_is_its_own_verdict() -> None:
    sampled = outcomes(0.33, 0.40, 0.40, 0.47)
    sharp = made_sharpening(N, temperature=0.5, left=0.01, differs=0.0, tempered=0.47)
    made = made_evidence(outcomes(0.22, 0.22, 0.22, 0.22), sampled, sharpening=sharp)
    assert judge_evidence(made).verdict == "SHARPENED"


@pytest.mark.parametrize(
    "other",
    [
        {"left": 0.5, "differs": 0.0, "tempered": 0.47},
        {"left": 0.01, "differs": 0.1, "tempered": 0.47},
        {"left": 0.01, "differs": 0.0, "tempered": 0.33},
    ],
    ids=["other-distribution", "other-argmax", "other-accuracy"],
)
def test_what_a_temperature_does_not_explain_is_not_sharpened(other) -> None:
    sampled = outcomes(0.33, 0.40, 0.40, 0.47)
    sharp = made_sharpening(N, temperature=0.5, **other)
    made = made_evidence(outcomes(0.22, 0.22, 0.22, 0.22), sampled, sharpening=sharp)
    judgement = judge_evidence(made)
    assert judgement.finding("sharpening").status == "REFUTED"
    assert judgement.verdict != "SHARPENED"


def test_a_failed_check_is_invalid_whatever_the_numbers_say() -> None:
    failed = Check("clean run twice", passed=False, detail="3 of 300 texts differ")
    judgement = judge_evidence(made_evidence(PLAIN["when"][0], checks=(failed,)))
    assert judgement.verdict == "INVALID"
    assert "3 of 300" in judgement.reason


def test_when_is_not_concluded_where_execution_rose() -> None:
    made = made_evidence(PLAIN["when"][0], execution={"step": (0.5, 0.9)})
    judgement = judge_evidence(made)
    assert judgement.verdict == "INCONCLUSIVE"
    assert judgement.finding("C8").status == "REFUTED"


def test_decodings_that_contradict_each_other_decide_nothing() -> None:
    assert judge_evidence(made_evidence(PLAIN["when"][0], PLAIN["how"][0])).verdict == "INCONCLUSIVE"


def test_a_gap_of_guesses_is_neither() -> None:
    greedy = outcomes(0.2, 0.2, 0.6, 0.6)
    flat = outcomes(0.2, 0.2, 0.2, 0.2)
    lucky = type(greedy)(
        **{name: getattr(greedy, name) for name in ("base", "thinking", "reached_base", "reached_thinking")},
        roomy_base=greedy.roomy_base,
        cells=greedy.cells,
        verified=flat.cells,
    )
    assert judge_evidence(made_evidence(lucky)).verdict == "NEITHER"


SHARP = {"temperature": 0.5, "left": 0.01, "differs": 0.005, "tempered": 0.47}


@pytest.mark.parametrize(
    ("greedy", "status"),
    [
        (outcomes(0.5, 0.5, 0.9, 0.9), "REFUTED"),
        (outcomes(0.9, 0.9, 0.5, 0.5), "REFUTED"),
        (outcomes(0.5, 0.5, 0.57, 0.57), "INCONCLUSIVE"),
        (outcomes(0.5, 0.5, 0.5, 0.5), "SUPPORTED"),
    ],
)
def test_a_greedy_gap_is_none_of_temperature(greedy, status) -> None:
    sampled = outcomes(0.33, 0.40, 0.40, 0.47)
    judgement = judge_evidence(made_evidence(greedy, sampled, sharpening=made_sharpening(N, **SHARP)))
    assert judgement.finding("sharpening").status == status
    assert (judgement.verdict == "SHARPENED") == (status == "SUPPORTED")


def test_factors_that_cancel_at_either_decoding_are_not_neither() -> None:
    none, cancels = PLAIN["nothing"][0], PLAIN["opposite-that-cancels"][0]
    for greedy, sampled in ((none, cancels), (cancels, none)):
        judgement = judge_evidence(made_evidence(greedy, sampled))
        assert (judgement.verdict, judgement.stop) == ("INCONCLUSIVE", "opposite"), judgement.reason
        assert "pull against each other" in judgement.reason
    little = outcomes(0.5, 0.43, 0.57, 0.5)  # 7 points each way: neither moved nor equivalent to 0
    judgement = judge_evidence(made_evidence(little))
    assert (judgement.verdict, judgement.stop) == ("INCONCLUSIVE", "factors"), judgement.reason


def test_a_when_whose_other_decoding_pulls_two_ways_is_not_decided() -> None:
    judgement = judge_evidence(made_evidence(PLAIN["when"][0], PLAIN["opposite"][0]))
    assert judgement.verdict == "INCONCLUSIVE" and "contradict each other" in judgement.reason
    judgement = judge_evidence(made_evidence(PLAIN["when"][0], PLAIN["loss-of-when"][0]))
    assert judgement.verdict == "INCONCLUSIVE" and "loss under the other" in judgement.reason


def test_a_loss_of_when_needs_execution_that_did_not_fall() -> None:
    for execution, words in ((0.4, "execution fell"), (0.86, "execution may have fallen")):
        made = made_evidence(PLAIN["loss-of-when"][0], execution={"step": (0.9, execution)})
        judgement = judge_evidence(made)
        assert judgement.verdict == "INCONCLUSIVE" and words in judgement.reason


def unworked(tt: float, constant: float | None, **changed):
    """Everything right is so without work; the most frequent answer is right as often as `constant`."""
    greedy = outcomes(0.2, tt, 0.2, tt)
    greedy = replace(greedy, verified=changed.get("verified", outcomes(0.0, 0.0, 0.0, 0.0)).cells)
    one = None if constant is None else shares(constant, N)
    return replace(made_evidence(greedy), constant=one)


def test_right_without_work_is_a_guess_only_where_one_answer_is_as_often_right() -> None:
    assert judge_evidence(unworked(0.7, None)).verdict == "NEITHER"  # evidence of before
    assert judge_evidence(unworked(1.0, None)).verdict == "INCONCLUSIVE"  # never wrong: no guess
    for constant in (0.8, 0.69, 0.65):  # a guesser that is a little better than one answer, beside the gap
        assert judge_evidence(unworked(0.7, constant)).verdict == "NEITHER"
    for tt, constant in ((1.0, 0.12), (0.7, 0.5)):
        judgement = judge_evidence(unworked(tt, constant))
        assert judgement.verdict == "INCONCLUSIVE", judgement.reason
        assert "more often than the most frequent answer" in judgement.reason
        assert "beyond one answer" in judgement.finding("luck").numbers
    lost = replace(unworked(1.0, 0.12), outcomes={
        name: replace(each, base=each.thinking, thinking=each.base, roomy_base=each.thinking,
                      roomy_thinking=each.base, reached_base=each.thinking, reached_thinking=each.base,
                      cells=outcomes(1.0, 0.2, 1.0, 0.2).cells)
        for name, each in unworked(1.0, 0.12).outcomes.items()
    })  # fmt: skip
    assert judge_evidence(lost).verdict == "INCONCLUSIVE"


def test_a_gap_of_guesses_under_which_work_cancels_is_not_neither() -> None:
    made = unworked(0.7, 0.69, verified=outcomes(0.1, 0.0, 0.2, 0.1))
    judgement = judge_evidence(made)
    assert judgement.verdict == "INCONCLUSIVE" and "of which WHEN" in judgement.reason


def test_a_claim_is_another_one_under_another_rule() -> None:
    claim = Claim("C9", "statement", "statistic", (), "decision")
    assert claim.hash == Claim("C9", "statement", "statistic", (), "decision").hash
    assert claim.hash != Claim("C9", "statement", "statistic", (), "decision", Rule(margin=0.04)).hash
    assert claim.hash != Claim("C9", "statement", "statistic", (), "decision", split="tuning").hash


def test_evidence_is_of_its_problems() -> None:
    made = made_evidence(PLAIN["when"][0])
    with pytest.raises(DataError, match="300 problems, of 299"):
        Evidence("made", made.problems[:-1], made.outcomes, None)
    with pytest.raises(DataError, match="outside"):
        Evidence("made", made.problems, made.outcomes, None, arms={"full": np.full(N, 1.2)})


def test_a_judgement_is_plain_json() -> None:
    import json

    written = json.loads(json.dumps(judge_evidence(made_evidence(PLAIN["both-as-a-sum"][0])).to_json()))
    assert written["verdict"] == "BOTH"
    assert {finding["claim"]["name"] for finding in written["findings"]} >= {"C8", "C9", "C10", "sharpening"}


UNDECIDED = outcomes(0.50, 0.50, 0.57, 0.57)  # a greedy gap of 7 points: neither small nor beyond the margin


def test_a_greedy_gap_that_is_not_decided_leaves_the_word_to_that_at_t_1() -> None:
    judgement = judge_evidence(made_evidence(UNDECIDED, outcomes(0.3, 0.3, 0.7, 0.7)))
    assert judgement.gaps["greedy"].change == "undecided"
    assert (judgement.verdict, judgement.decisive) == ("WHEN", "sampled")


def test_unless_it_may_have_another_cause() -> None:
    how = outcomes(0.50, 0.57, 0.50, 0.57)
    judgement = judge_evidence(made_evidence(how, outcomes(0.3, 0.3, 0.7, 0.7)))
    assert judgement.gaps["greedy"].change == "undecided"
    assert judgement.verdict == "INCONCLUSIVE" and "another cause" in judgement.reason


def test_what_vanishes_with_the_statement_is_refuted_by_being_equivalent_to_none() -> None:
    """2 of 15 points: too few to be told from 20 % of the gap, and too few to matter."""
    made = made_evidence(outcomes(0.50, 0.50, 0.65, 0.65, reached=(0.52, 0.65)))
    judgement = judge_evidence(made)
    assert judgement.finding("format").status == "REFUTED"
    assert judgement.verdict == "WHEN"


def test_when_needs_execution_that_is_shown_not_to_have_risen() -> None:
    made = made_evidence(PLAIN["when"][0], execution={"step": (0.90, 0.95)})
    judgement = judge_evidence(made)
    assert judgement.finding("C8").status == "INCONCLUSIVE"
    assert judgement.verdict == "INCONCLUSIVE" and "may have risen" in judgement.reason


def test_execution_that_never_differed_is_no_certainty() -> None:
    made = made_evidence(PLAIN["when"][0], execution={"step": (0.99, 0.99)})
    rise = judge_evidence(made).finding("C8").numbers["rise of step"]
    assert isinstance(rise, Interval) and rise.low < 0 < rise.high
