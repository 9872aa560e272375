"""What is printed follows from the verdict: a sentence for each, shares with intervals, methods."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from reasonmech.claims import Check, Provenance, Rule, describe_methods, first_sentence, judge_evidence
from reasonmech.claims.wording import gap_shares, smallest_p
from reasonmech.stats import CONTRAST, mean_interval
from tests.unit.claims.made_evidence import made_evidence, made_outcomes, made_sharpening

N = 300
PROVENANCE = Provenance(
    "f" * 64,
    "chain",
    "confirmation",
    0,
    1,
    224,
    "60 problems of split tuning",
    "b" * 64,
    "t" * 64,
    (),
    {"x": "9"},
)
SENTENCES = {
    "WHEN": (made_evidence(made_outcomes(0.2, 0.2, 1.0, 1.0, n=N)), "Training taught made when"),
    "HOW": (made_evidence(made_outcomes(0.1, 1.0, 0.1, 1.0, n=N)), "Training taught made how"),
    "BOTH": (made_evidence(made_outcomes(0.2, 0.5, 0.6, 0.9, n=N)), "Training taught made both"),
    "NEITHER": (made_evidence(made_outcomes(0.2, 0.2, 0.2, 0.2, n=N)), "neither when nor how"),
    "FORMAT": (
        made_evidence(made_outcomes(1.0, 1.0, 1.0, 1.0, n=N, base=0.0, thinking=1.0, reached=(1.0, 1.0))),
        "differ in how an answer comes out",
    ),
    "SHARPENED": (
        made_evidence(
            made_outcomes(0.2, 0.2, 0.2, 0.2, n=N),
            made_outcomes(0.33, 0.40, 0.40, 0.47, n=N),
            sharpening=made_sharpening(N, temperature=0.5, left=0.01, differs=0.0, tempered=0.47),
        ),
        "at another temperature",
    ),
    "INVALID": (
        made_evidence(
            made_outcomes(0.2, 0.2, 1.0, 1.0, n=N), checks=(Check("twice", passed=False, detail="3 differ"),)
        ),
        "a check failed",
    ),
    "INCONCLUSIVE": (made_evidence(made_outcomes(0.5, 0.5, 0.56, 0.56, n=N)), "would have been seen"),
}


@pytest.mark.parametrize(("verdict", "made"), SENTENCES.items(), ids=SENTENCES.keys())
def test_a_verdict_has_its_sentence(verdict, made) -> None:
    evidence, words = made
    judgement = judge_evidence(evidence)
    assert judgement.verdict == verdict, judgement.reason
    assert words in first_sentence(judgement)
    assert "Exploratory" not in first_sentence(judgement)
    assert "\n" not in repr(judgement) and verdict in repr(judgement)


@pytest.mark.parametrize(
    ("cells", "verdict", "words"),
    [
        ((1.0, 1.0, 0.2, 0.2), "WHEN", "took away from made when"),
        ((1.0, 0.1, 1.0, 0.1), "HOW", "took away from made how"),
        ((0.9, 0.6, 0.5, 0.2), "BOTH", "took away from made both when"),
    ],
)
def test_a_loss_is_told_as_one(cells, verdict, words) -> None:
    judgement = judge_evidence(made_evidence(made_outcomes(*cells, n=N)))
    assert judgement.verdict == verdict
    text = first_sentence(judgement)
    assert words in text and "taught" not in text and "could not" not in text
    for finding in judgement.findings:
        assert "taught" not in finding.claim.statement, "a claim of a loss that says what was taught"


def test_a_base_that_is_better_at_sentences_is_named_beside_when() -> None:
    made = made_evidence(
        made_outcomes(0.2, 0.2, 1.0, 1.0, n=N), execution={"step": (0.9, 0.4), "check": (0.9, 0.9)}
    )
    judgement = judge_evidence(made)
    assert judgement.verdict == "WHEN" and judgement.finding("C8").status == "SUPPORTED"
    assert "carries out step worse than the base" in first_sentence(judgement)
    assert "the thinking model is worse at step" in judgement.finding("C8").reason


def test_factors_that_pull_against_each_other_have_a_sentence_of_their_own() -> None:
    text = first_sentence(judge_evidence(made_evidence(made_outcomes(0.2, 0.15, 1.0, 0.6, n=N))))
    assert "pull against each other" in text and "would have been seen" not in text
    assert "the choice of onsets gains +62.5 [" in text and "execution loses -22.5 [" in text


@pytest.mark.parametrize("cells", [(0.5, 0.5, 0.56, 0.56), (0.2, 0.25, 0.25, 0.3)], ids=["nested", "both"])
def test_the_effect_that_would_have_been_seen_is_seen_four_times_in_five(cells) -> None:
    """Problems drawn with an effect of that size, as discordant as these: shown to be beyond 5 points."""
    judgement = judge_evidence(made_evidence(made_outcomes(*cells, n=N)))
    (printed,) = re.findall(r"An effect of (\d+) points would have been seen", first_sentence(judgement))
    effect = int(printed) / 100
    rng, shown = np.random.default_rng(0), 0
    for _ in range(200):
        values = (rng.uniform(size=N) < effect + 0.005).astype(float)
        shown += mean_interval(values, bounds=CONTRAST, draws=1000).low > 0.05
    assert 0.68 <= shown / 200 <= 0.95


def test_what_another_rule_stopped_says_no_effect() -> None:
    made = made_evidence(made_outcomes(0.2, 0.2, 1.0, 1.0, n=N), execution={"step": (0.5, 0.9)})
    judgement = judge_evidence(made)
    assert judgement.verdict == "INCONCLUSIVE" and "execution rose" in judgement.reason
    assert "would have been seen" not in first_sentence(judgement)
    few = judge_evidence(made_evidence(made_outcomes(0.2, 0.2, 0.6, 0.6, n=12)))
    assert "So few problems cannot decide it" in first_sentence(few)


def test_a_second_look_is_said_to_be_one() -> None:
    evidence = replace(SENTENCES["WHEN"][0], provenance=replace(PROVENANCE, opened_before=("abc on Monday",)))
    judgement = judge_evidence(evidence)
    assert "Exploratory" in first_sentence(judgement) and "abc on Monday" in first_sentence(judgement)
    assert "exploratory" in describe_methods(judgement)


def test_shares_have_intervals() -> None:
    shares = gap_shares(judge_evidence(SENTENCES["BOTH"][0]))
    assert shares.when.estimate + shares.how.estimate == pytest.approx(1)
    assert shares.when.low < shares.when.estimate < shares.when.high


def test_methods_name_what_a_reader_needs() -> None:
    evidence = replace(SENTENCES["WHEN"][0], provenance=PROVENANCE, notes=("9 % of texts were cut off",))
    text = describe_methods(judge_evidence(evidence))
    for part in (
        "300 problems", "confirmation", "greedily and at T = 1", "224 tokens", "Shapley", "95% intervals",
        "two one-sided tests", "Smallest attainable p", "ffffffffffff", "x 9", "9 % of texts were cut off",
        "60 problems of split tuning", "opened once", "step 1200",
    ):  # fmt: skip
        assert part in text, part


def test_made_evidence_has_no_methods() -> None:
    assert "no methods" in describe_methods(judge_evidence(SENTENCES["WHEN"][0]))


def test_the_smallest_p_is_what_n_problems_can_say() -> None:
    assert smallest_p(59, Rule())["equivalence"] == pytest.approx(0.95**59)
    assert 0.95**58 > 0.05 > 0.95**59  # which is why 59 are the fewest that are judged
    assert smallest_p(10_000, Rule())["equivalence"] == pytest.approx(1 / 10_001)
