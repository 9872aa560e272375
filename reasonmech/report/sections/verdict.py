"""Section of the verdict: what decided, claim by claim, and the paragraph for a paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from reasonmech.experiments import Run
from reasonmech.report.html import Column, Figure, Section, folded, table
from reasonmech.report.sections.base import sections
from reasonmech.viz import gap_by_factor

_FACTORS: Final = {
    "when": "WHEN: who decides what comes next",
    "how": "HOW: who carries it out",
    "outside": "in no splice",
}
_DECODINGS: Final = {"greedy": "greedy", "sampled": "T = 1"}


@sections.register("verdict")
def verdict_section(run: Run) -> Section | None:
    """The gap by factor, every claim with its status and reason, and the methods."""
    judgement = run.judgement
    if judgement is None:
        return None
    findings = pd.DataFrame(
        {
            "name": finding["claim"]["name"],
            "statement": finding["claim"]["statement"],
            "status": finding["status"],
            "reason": finding["reason"],
        }
        for finding in judgement["findings"]
    )
    columns = (
        Column("name", "claim"),
        Column("statement", "what is claimed"),
        Column("status", "status"),
        Column("reason", "because"),
    )
    lead = (
        f"{judgement['sentence']} In a splice one model decides at every sentence boundary which kind of "
        "sentence comes next, and the other, or the same, writes it: no activation is touched, so this is "
        "what the hybrid's recovery is read under, not the other way round."
    )
    figures = [
        Figure(
            "gap-by-factor",
            gap_by_factor(gap_frame(judgement)),
            "The gap between base and thinking model, by what it is due to.",
        )
    ]
    blocks = [table(findings, columns), folded("Methods, as a paper can print them", judgement["methods"])]
    return Section("verdict", f"Verdict: {judgement['verdict']}", lead, figures, blocks)


def gap_frame(judgement: Mapping[str, Any]) -> pd.DataFrame:
    """Effects of each factor under each decoding: factor, decoding, estimate, low, high."""
    (numbers,) = (f["numbers"] for f in judgement["findings"] if f["claim"]["name"] == "C9")
    return pd.DataFrame(
        {"factor": factor, "decoding": decoded} | numbers[f"{decoding}.{name}"]
        for name, factor in _FACTORS.items()
        for decoding, decoded in _DECODINGS.items()
    )
