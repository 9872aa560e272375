"""Judgement: one verdict about a pair, the findings it rests on, and what is said of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, final

from reasonmech.claims.capability import capability_claim, judge_capability
from reasonmech.claims.claim import Claim, Finding, Rule, Verdict
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

_OPPOSITE: Final = {"WHEN": "HOW", "HOW": "WHEN"}
_REFUTES_WHEN: Final = {
    "moments": "the same kinds at other moments do as much",
    "leak": "more is handed over than a kind of sentence",
}
"""Claims beside the factorial without which there is no WHEN. An oracle-free controller is not among them:
one that fails may be a weak probe, which says nothing of what training taught."""


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
    (SHARPENED); no gap, greedy and at T = 1, nor with twice the tokens (NEITHER); a gap that is gone where
    the statement of the answer or the length does not count (FORMAT); a gap of guesses alone (NEITHER); the
    factorial (WHEN, HOW, BOTH). Whatever is not decided by an interval is INCONCLUSIVE, with the reason.
    """
    rule = rule or Rule()
    gaps: dict[Decoding, Effect] = {
        name: effect(outcomes.gap, rule) for name, outcomes in evidence.outcomes.items()
    }
    splits: dict[Decoding, SplitGap] = {
        name: split_gap(outcomes, rule) for name, outcomes in evidence.outcomes.items()
    }
    decisive = _decisive(gaps)
    outcomes = evidence.outcomes[decisive]
    findings = (
        _judge_integrity(evidence, rule),
        judge_sharpening(evidence, rule),
        judge_format(outcomes, rule),
        judge_length(evidence.outcomes, decisive, rule),
        judge_luck(outcomes, rule),
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
    verdict, reason = _decide(by_name, gaps, splits, decisive, rule)
    return Judgement(
        evidence.pair, evidence.n, verdict, reason, gaps, splits, decisive, findings, rule, evidence
    )


def _decisive(gaps: dict[Decoding, Effect]) -> Decoding:
    """Greedy, unless its gap is small, or too uncertain to be split, and that at T = 1 is not."""
    if gaps["greedy"].moved:
        return "greedy"
    return "sampled" if gaps["sampled"].moved or gaps["greedy"].change == "none" else "greedy"


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


def _decide(
    findings: dict[str, Finding],
    gaps: dict[Decoding, Effect],
    splits: dict[Decoding, SplitGap],
    decisive: Decoding,
    rule: Rule,
) -> tuple[Verdict, str]:
    if findings["integrity"].status == "INVALID":
        return "INVALID", findings["integrity"].reason
    if findings["sharpening"].status == "SUPPORTED":
        return "SHARPENED", findings["sharpening"].reason
    summary = f"thinking - base is {gaps['greedy']} points greedy, {gaps['sampled']} at T = 1"
    if all(gap.change == "none" for gap in gaps.values()):
        if findings["length"].status == "INCONCLUSIVE":
            return "INCONCLUSIVE", f"{summary}, but {findings['length'].reason}"
        return "NEITHER", f"{summary}: equivalent to 0 within {rule.margin:.0%}"
    if not gaps[decisive].moved:
        return "INCONCLUSIVE", f"{summary}: neither beyond {rule.margin:.0%} nor equivalent to 0"
    if decisive == "sampled" and findings["sharpening"].status == "INCONCLUSIVE":
        return "INCONCLUSIVE", f"{summary}, and it may be temperature: {findings['sharpening'].reason}"
    for name in ("format", "length"):
        if findings[name].status == "SUPPORTED":
            return "FORMAT", findings[name].reason
    for name in ("format", "length"):
        if findings[name].status == "INCONCLUSIVE":
            return "INCONCLUSIVE", f"part of the gap may be one of {name}: {findings[name].reason}"
    if findings["luck"].status == "SUPPORTED":
        return "NEITHER", f"the gap is one of guesses: {findings['luck'].reason}"
    return _by_factorial(findings, gaps, splits, decisive, rule)


def _by_factorial(
    findings: dict[str, Finding],
    gaps: dict[Decoding, Effect],
    splits: dict[Decoding, SplitGap],
    decisive: Decoding,
    rule: Rule,
) -> tuple[Verdict, str]:
    split = splits[decisive]
    if split.cause in ("none", "undecided"):
        what = "no factor" if split.cause == "none" else "which factor"
        summary = "accounts for the gap" if split.cause == "none" else "accounts for the gap is not decided"
        return "INCONCLUSIVE", f"{what} {summary}: {split}"
    outside, total = (abs(part.interval.estimate) for part in (split.outside, split.total))
    if split.outside.moved and outside > rule.minor * total:
        return "INCONCLUSIVE", f"too much of the gap lies in no splice: {split}"
    other: Decoding = "sampled" if decisive == "greedy" else "greedy"
    if splits[other].cause == _OPPOSITE.get(split.cause):
        return "INCONCLUSIVE", f"the two decodings contradict each other: {findings['C9'].reason}"
    if decisive == "sampled" and gaps["greedy"].change != "none" and not _bears_out(splits["greedy"], split):
        return "INCONCLUSIVE", f"greedy the gap may have another cause: {splits['greedy']}; at T = 1: {split}"
    capability = findings["C8"]
    if split.cause == "WHEN" and capability.status in ("REFUTED", "INCONCLUSIVE"):
        rose = "rose" if capability.status == "REFUTED" else "may have risen"
        return "INCONCLUSIVE", f"{split}, but execution {rose}: {capability.reason}"
    for name, refuted in _REFUTES_WHEN.items():
        if split.cause == "WHEN" and findings[name].status == "REFUTED":
            return "INCONCLUSIVE", f"{split}, but {refuted}: {findings[name].reason}"
    return split.cause, f"{split} ({decisive}); {capability.reason}"


def _bears_out(greedy: SplitGap, sampled: SplitGap) -> bool:
    """Whether a greedy gap that is too uncertain to be split can't have another cause than that at T = 1."""
    other = {"WHEN": greedy.how, "HOW": greedy.when}.get(sampled.cause)
    return other is not None and other.change == "none"
