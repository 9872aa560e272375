"""Judgement: one verdict about a pair, the findings it rests on, and what is said of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, final

from reasonmech.claims.capability import capability_claim, execution_falls, judge_capability
from reasonmech.claims.claim import Claim, Finding, Rule, Verdict
from reasonmech.claims.deciding import Grounds, Stop, choose_decoding, decide
from reasonmech.claims.effects import Effect, effect
from reasonmech.claims.evidence import Decoding, Evidence
from reasonmech.claims.factorial import SplitGap, how_claim, judge_how, judge_when, split_gap, when_claim
from reasonmech.claims.moments import (
    judge_leak,
    judge_moments,
    judge_oracle_free,
    judge_takeover,
    leak_claim,
    moments_claim,
    oracle_free_claim,
    takeover_claim,
)
from reasonmech.claims.outputs import (
    format_claim,
    judge_format,
    judge_length,
    judge_luck,
    length_claim,
    luck_claim,
)
from reasonmech.claims.sharpening import judge_sharpening, sharpening_claim
from reasonmech.door import checked
from reasonmech.ranges import Positive


@final
@checked
@dataclass(frozen=True)
class Judgement:
    """What is true of a pair, as far as its evidence goes.

    Attributes:
        verdict: one of `claim.VERDICTS`.
        reason: what decided, as a sentence with its numbers.
        gaps: thinking - base by decoding.
        splits: the factorial by decoding.
        decisive: the decoding whose factorial decided: greedy, unless only the gap at T = 1 is beyond the
            margin.
        findings: one per claim, in the order in which they were tested.
        evidence: what it rests on, problem by problem.
        stop: what stopped a verdict that is INCONCLUSIVE.
    """

    pair: str
    n: Positive
    verdict: Verdict
    reason: str
    gaps: dict[Decoding, Effect]
    splits: dict[Decoding, SplitGap]
    decisive: Decoding
    findings: tuple[Finding, ...]
    rule: Rule
    evidence: Evidence = field(compare=False)
    stop: Stop = ""

    def __repr__(self) -> str:
        return f"Judgement({self.pair}: {self.verdict} on {self.n} problems: {self.reason})"

    @property
    def exploratory(self) -> tuple[str, ...]:
        """Earlier looks at this split of this pair; empty where it was opened for this judgement alone."""
        provenance = self.evidence.provenance
        return () if provenance is None else provenance.opened_before

    @checked
    def finding(self, name: str) -> Finding:
        """The finding on the claim of that name.

        Raises:
            KeyError: no such claim.
        """
        return {finding.claim.name: finding for finding in self.findings}[name]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `findings` with the hash of each claim."""
        return {
            "pair": self.pair,
            "problems": self.n,
            "verdict": self.verdict,
            "reason": self.reason,
            "decisive": self.decisive,
            "gaps": {name: gap.interval._asdict() for name, gap in self.gaps.items()},
            "findings": [finding.to_json() for finding in self.findings],
            "checks": [asdict(check) for check in self.evidence.checks],
            "exploratory": list(self.exploratory),
            "notes": list(self.evidence.notes),
        }


@checked
def ladder(rule: Rule, split: str = "confirmation") -> tuple[Claim, ...]:
    """Every claim that a verdict rests on, in the order in which they are tested, before anything is seen."""
    makers = (
        integrity_claim,
        sharpening_claim,
        format_claim,
        length_claim,
        luck_claim,
        capability_claim,
        when_claim,
        how_claim,
        moments_claim,
        oracle_free_claim,
        leak_claim,
        takeover_claim,
    )
    return tuple(replace(make(rule), split=split) for make in makers)


def judge_evidence(evidence: Evidence, rule: Rule | None = None) -> Judgement:
    """The verdict that the evidence bears out.

    In this order: a check of integrity that failed (INVALID); the same distribution up to a temperature
    (SHARPENED); no gap, greedy and at T = 1, nor with twice the tokens, nor onsets and execution that cancel
    each other (NEITHER); a gap that is gone where the statement of the answer or the length does not count
    (FORMAT); a gap of guesses alone (NEITHER); the factorial (WHEN, HOW, BOTH). Whatever is not decided by an
    interval is INCONCLUSIVE, with the reason, and so are onsets and execution that pull against each other.
    """
    rule = rule or Rule()
    gaps: dict[Decoding, Effect] = {
        name: effect(outcomes.gap, rule) for name, outcomes in evidence.outcomes.items()
    }
    splits: dict[Decoding, SplitGap] = {
        name: split_gap(outcomes, rule) for name, outcomes in evidence.outcomes.items()
    }
    decisive = choose_decoding(gaps)
    outcomes = evidence.outcomes[decisive]
    findings = (
        _judge_integrity(evidence, rule),
        judge_sharpening(evidence, rule),
        judge_format(outcomes, rule),
        judge_length(evidence.outcomes, decisive, rule),
        judge_luck(outcomes, rule, constant=evidence.constant),
        judge_capability(evidence, rule),
        judge_when(splits, decisive, rule),
        judge_how(splits, decisive, rule),
        judge_moments(evidence, rule),
        judge_oracle_free(evidence, rule),
        judge_leak(evidence, rule),
        judge_takeover(evidence, rule),
    )
    if evidence.provenance is not None:  # what was made is of no split, and stands for the one that decides
        split = evidence.provenance.split
        findings = tuple(replace(one, claim=replace(one.claim, split=split)) for one in findings)
    by_name = {finding.claim.name: finding for finding in findings}
    falls = set(execution_falls(evidence, rule).values())
    fell = "fell" if "rise" in falls else "may have fallen" if "undecided" in falls else "none"
    verdict, reason, stop = decide(Grounds(by_name, gaps, splits, decisive, rule, fell))
    return Judgement(
        evidence.pair, evidence.n, verdict, reason, gaps, splits, decisive, findings, rule, evidence, stop
    )


def integrity_claim(rule: Rule) -> Claim:
    """The runs are what they say they are."""
    return Claim(
        "integrity",
        "The measurement is one of this pair.",
        "checks of the runs, each with what was seen",
        (),
        "every check holds",
        rule,
    )


def _judge_integrity(evidence: Evidence, rule: Rule) -> Finding:
    claim = integrity_claim(rule)
    failed = [check for check in evidence.checks if not check.passed]
    if failed:
        reason = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        return Finding(claim, "INVALID", {}, reason)
    return Finding(claim, "SUPPORTED", {}, f"{len(evidence.checks)} checks held")
