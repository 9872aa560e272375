"""Deciding: the verdict that gaps, factorials and findings bear out, simpler causes asked first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from reasonmech.claims.claim import Finding, Rule, Verdict
from reasonmech.claims.effects import Effect, points
from reasonmech.claims.evidence import DECODINGS, Decoding
from reasonmech.claims.factorial import SplitGap

Stop = Literal["", "opposite", "gap", "factors", "rule"]
"""What makes a pair INCONCLUSIVE: factors that pull against each other, a gap or factors that were measured
too coarsely, or a rule that the reason names; "": another verdict."""

DECODED: Final = {"greedy": "greedy", "sampled": "T = 1"}
_OPPOSITE: Final = {"WHEN": "HOW", "HOW": "WHEN"}
_REFUTES_WHEN: Final = {
    "moments": "the same kinds at other moments do as much",
    "leak": "more is handed over than a kind of sentence",
}
"""Claims beside the factorial without which there is no WHEN. An oracle-free controller is not among them:
one that fails may be a weak probe, which says nothing of what training taught."""


class Grounds(NamedTuple):
    """What a verdict is decided on.

    Attributes:
        findings: by the name of the claim.
        gaps, splits: by decoding; `decisive` is the one that decides.
        fell: whether execution after a forced onset fell, or may have.
    """

    findings: Mapping[str, Finding]
    gaps: Mapping[Decoding, Effect]
    splits: Mapping[Decoding, SplitGap]
    decisive: Decoding
    rule: Rule
    fell: Literal["none", "fell", "may have fallen"]


class Decision(NamedTuple):
    """A verdict, what decided, and what stopped one that is INCONCLUSIVE."""

    verdict: Verdict
    reason: str
    stop: Stop = ""


def choose_decoding(gaps: Mapping[Decoding, Effect]) -> Decoding:
    """Greedy, unless its gap is small, or too uncertain to be split, and that at T = 1 is not."""
    if gaps["greedy"].moved:
        return "greedy"
    return "sampled" if gaps["sampled"].moved or gaps["greedy"].change == "none" else "greedy"


def decide(grounds: Grounds) -> Decision:
    """The verdict, in the order of `judgement.judge_evidence`."""
    findings, gaps, rule = grounds.findings, grounds.gaps, grounds.rule
    if findings["integrity"].status == "INVALID":
        return Decision("INVALID", findings["integrity"].reason)
    if findings["sharpening"].status == "SUPPORTED":
        return Decision("SHARPENED", findings["sharpening"].reason)
    summary = f"thinking - base is {gaps['greedy']} points greedy, {gaps['sampled']} at T = 1"
    if all(gap.change == "none" for gap in gaps.values()):
        return _without_gap(grounds, summary)
    if not gaps[grounds.decisive].moved:
        undecided = f"{summary}: neither beyond {rule.margin:.0%} nor equivalent to 0"
        return _pulled(grounds) or Decision("INCONCLUSIVE", undecided, "gap")
    if grounds.decisive == "sampled" and findings["sharpening"].status == "INCONCLUSIVE":
        return _stopped(f"{summary}, and it may be temperature: {findings['sharpening'].reason}")
    for name in ("format", "length"):
        if findings[name].status == "SUPPORTED":
            return Decision("FORMAT", findings[name].reason)
    for name in ("format", "length"):
        if findings[name].status == "INCONCLUSIVE":
            return _stopped(f"part of the gap may be one of {name}: {findings[name].reason}")
    luck = findings["luck"]
    if luck.status == "SUPPORTED":
        return Decision("NEITHER", f"the gap is one of guesses: {luck.reason}")
    if luck.status == "INCONCLUSIVE" and grounds.splits[grounds.decisive].total.moved:
        return _stopped(f"part of the gap may be answers without work, which are no guesses: {luck.reason}")
    return _by_factorial(grounds)


def _stopped(reason: str) -> Decision:
    return Decision("INCONCLUSIVE", reason, "rule")


def _without_gap(grounds: Grounds, summary: str) -> Decision:
    """NEITHER, unless the limit hides a gap, or factors that cancel make none."""
    length = grounds.findings["length"]
    if length.status == "INCONCLUSIVE":
        return _stopped(f"{summary}, but {length.reason}")
    if pulled := _pulled(grounds):
        return pulled
    may_cancel = {name: split for name, split in grounds.splits.items() if split.cause != "none"}
    if may_cancel:
        factors = "; ".join(f"{DECODED[name]}: {split}" for name, split in may_cancel.items())
        reason = f"{summary}, but onsets and execution may cancel each other: {factors}"
        return Decision("INCONCLUSIVE", reason, "factors")
    both = f"and so are WHEN and HOW; greedy {grounds.splits['greedy']}"
    return Decision("NEITHER", f"{summary}: equivalent to 0 within {grounds.rule.margin:.0%}, {both}")


def _pulled(grounds: Grounds) -> Decision | None:
    """That onsets and execution pull against each other, where they do; first of the deciding decoding."""
    names = sorted(DECODINGS, key=lambda name: name != grounds.decisive)
    for name in names:
        if grounds.splits[name].cause == "opposite":
            return Decision("INCONCLUSIVE", describe_opposite(grounds, name), "opposite")
    return None


def describe_opposite(grounds: Grounds, decoding: Decoding) -> str:
    """Two factors of opposite sign, each with its interval."""
    split = grounds.splits[decoding]
    parts = [
        f"{name} {'gain' if part.change == 'rise' else 'lose'}s {points(part.interval)} points"
        for name, part in (("the choice of onsets", split.when), ("execution", split.how))
    ]
    return (
        f"{parts[0]}, {parts[1]} ({DECODED[decoding]}): they pull against each other, and no one word says "
        f"both; the gap is {grounds.gaps[decoding]}"
    )


def _by_factorial(grounds: Grounds) -> Decision:
    splits, decisive, rule = grounds.splits, grounds.decisive, grounds.rule
    split = splits[decisive]
    if split.cause == "opposite":
        return Decision("INCONCLUSIVE", describe_opposite(grounds, decisive), "opposite")
    if split.cause == "none":
        return _stopped(f"no factor accounts for the gap: {split}")
    if split.cause == "undecided":
        coarse = "undecided" in (split.when.change, split.how.change)
        reason = f"which factor accounts for the gap is not decided: {split}"
        return Decision("INCONCLUSIVE", reason, "factors" if coarse else "rule")
    outside, total = (abs(part.interval.estimate) for part in (split.outside, split.total))
    if split.outside.moved and outside > rule.minor * total:
        return _stopped(f"too much of the gap lies in no splice: {split}")
    if contradiction := _contradiction(grounds, split):
        return _stopped(contradiction)
    if split.cause == "WHEN" and (more := _more_than_when(grounds)):
        return _stopped(f"{split}, but {more}")
    return Decision(split.cause, f"{split} ({decisive}); {grounds.findings['C8'].reason}")


def _contradiction(grounds: Grounds, split: SplitGap) -> str:
    """What the other decoding says against this one; "": nothing."""
    gaps, splits, decisive = grounds.gaps, grounds.splits, grounds.decisive
    other: Decoding = "sampled" if decisive == "greedy" else "greedy"
    if splits[other].cause in ("opposite", _OPPOSITE.get(split.cause)):
        return f"the two decodings contradict each other: {grounds.findings['C9'].reason}"
    if {gaps[decisive].change, gaps[other].change} == {"rise", "fall"}:
        return f"a gain under one decoding is a loss under the other: {grounds.findings['C9'].reason}"
    if decisive == "sampled" and gaps["greedy"].change != "none" and not _bears_out(splits["greedy"], split):
        return f"greedy the gap may have another cause: {splits['greedy']}; at T = 1: {split}"
    return ""


def _more_than_when(grounds: Grounds) -> str:
    """What is against a WHEN whose factorial is one; "": nothing."""
    capability = grounds.findings["C8"]
    if capability.status in ("REFUTED", "INCONCLUSIVE"):
        rose = "rose" if capability.status == "REFUTED" else "may have risen"
        return f"execution {rose}: {capability.reason}"
    if grounds.gaps[grounds.decisive].change == "fall" and grounds.fell != "none":
        return f"execution {grounds.fell}: {capability.reason}"
    for name, refuted in _REFUTES_WHEN.items():
        if grounds.findings[name].status == "REFUTED":
            return f"{refuted}: {grounds.findings[name].reason}"
    return ""


def _bears_out(greedy: SplitGap, sampled: SplitGap) -> bool:
    """Whether a greedy gap that is too uncertain to be split can't have another cause than that at T = 1."""
    other = {"WHEN": greedy.how, "HOW": greedy.when}.get(sampled.cause)
    return other is not None and other.change == "none"
