"""Claims: what may be said of a pair, the numbers that decide, and a verdict whose error rate is measured."""

from reasonmech.claims.claim import VERDICTS, Claim, Finding, Rule, Status, Verdict
from reasonmech.claims.evidence import Cells, Check, Evidence, Execution, Outcomes, Sharpening
from reasonmech.claims.judgement import Judgement, judge_evidence, ladder
from reasonmech.claims.judging import judge, measure_judgement
from reasonmech.claims.measuring import Extent, Questions, measure_evidence
from reasonmech.claims.provenance import Provenance
from reasonmech.claims.registration import Registration, Terms
from reasonmech.claims.saving import load_judgement
from reasonmech.claims.wording import describe_methods, first_sentence

__all__ = [
    "VERDICTS",
    "Cells",
    "Check",
    "Claim",
    "Evidence",
    "Execution",
    "Extent",
    "Finding",
    "Judgement",
    "Outcomes",
    "Provenance",
    "Questions",
    "Registration",
    "Rule",
    "Sharpening",
    "Status",
    "Terms",
    "Verdict",
    "describe_methods",
    "first_sentence",
    "judge",
    "judge_evidence",
    "ladder",
    "load_judgement",
    "measure_evidence",
    "measure_judgement",
]
