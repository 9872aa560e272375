"""Claims: what may be said of a pair, the numbers that decide, and a verdict whose error rate is measured."""

from reasonmech.claims.claim import VERDICTS, Claim, Finding, Rule, Status, Verdict
from reasonmech.claims.evidence import Cells, Check, Evidence, Execution, Outcomes, Sharpening
from reasonmech.claims.judgement import Judgement, judge_evidence

__all__ = [
    "VERDICTS",
    "Cells",
    "Check",
    "Claim",
    "Evidence",
    "Execution",
    "Finding",
    "Judgement",
    "Outcomes",
    "Rule",
    "Sharpening",
    "Status",
    "Verdict",
    "judge_evidence",
]
