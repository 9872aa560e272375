"""Wording: sentences that a verdict bears out, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from reasonmech.claims.capability import execution_falls
from reasonmech.claims.claim import Rule, Status
from reasonmech.claims.deciding import DECODED
from reasonmech.claims.effects import as_share, points
from reasonmech.claims.evidence import Execution, PerProblem
from reasonmech.claims.judgement import Judgement
from reasonmech.stats import DRAWS, Interval, detectable_difference, factorial, fewest_problems

_BESIDE_WHEN: Final[Mapping[str, Mapping[Status, str]]] = {
    "moments": {
        "SUPPORTED": "and the same kinds at other moments do less",
        "INCONCLUSIVE": "though it is not decided whether the same kinds at other moments do less",
    },
    "oracle-free": {
        "SUPPORTED": "and a controller that reads the base alone keeps {kept} of it",
        "REFUTED": "but a controller that reads the base alone keeps no half of it ({kept})",
        "INCONCLUSIVE": "but it is not decided whether one that reads the base alone keeps half ({kept})",
    },
    "leak": {"INCONCLUSIVE": "though the words of sentences may be part of it"},
    "takeover": {"SUPPORTED": "and with its kinds the base writes the thinking model's own texts"},
}
"""What is said of a WHEN by what came of the claims beside its factorial."""


class GapShares(NamedTuple):
    """Shares of the spliced gap, under the decoding that decides."""

    when: Interval
    how: Interval


def gap_shares(judgement: Judgement) -> GapShares:
    """WHEN and HOW as shares of their sum, with intervals; unbounded where the sum may be 0."""
    cells = judgement.evidence.outcomes[judgement.decisive].cells
    effects = factorial(bb=cells.bb, bt=cells.bt, tb=cells.tb, tt=cells.tt, level=judgement.rule.level)
    return GapShares(effects.when_share, effects.how_share)


def first_sentence(judgement: Judgement) -> str:
    """What is true of the pair, as far as its verdict goes; exploratory where the split was opened before."""
    text = _sentence(judgement)
    if judgement.exploratory:
        text += (
            " Exploratory: this split of this pair was opened before, under "
            f"{'; '.join(judgement.exploratory)}."
        )
    return text


def _sentence(judgement: Judgement) -> str:
    pair, verdict, reason = judgement.pair, judgement.verdict, judgement.reason
    match verdict:
        case "WHEN" | "HOW" | "BOTH":
            return _sentence_of_split(judgement)
        case "SHARPENED":
            return f"The thinking model of {pair} is its base at another temperature: {reason}."
        case "FORMAT":
            return f"The models of {pair} differ in how an answer comes out, not in working it out: {reason}."
        case "NEITHER":
            return f"Training taught {pair} neither when nor how: {reason}."
        case "INVALID":
            return f"Nothing can be said of {pair}, for a check failed: {reason}."
        case _:
            if judgement.stop == "opposite":
                return f"Training moved {pair} two ways, on {judgement.n} problems: {reason}."
            text = f"What training did to {pair} is not decided on {judgement.n} problems: {reason}."
            return f"{text}{_power(judgement)}"


def _power(judgement: Judgement) -> str:
    """The effect that would have been seen, where too few problems are the reason; else ""."""
    if judgement.stop not in ("gap", "factors"):
        return ""
    if judgement.n < fewest_problems(judgement.rule.margin, alpha=1 - judgement.rule.level):
        return " So few problems cannot decide it, whatever they say."
    seen = 0.0
    for outcomes in judgement.evidence.outcomes.values():
        parts = (outcomes.gap,) if judgement.stop == "gap" else (outcomes.cells.when, outcomes.cells.how)
        seen = max(seen, *(_detectable(part, judgement.rule) for part in parts))
    return (
        f" An effect of {100 * seen:.0f} points would have been seen, beyond {100 * judgement.rule.margin:g} "
        "with its whole interval, four times in five."
    )


def _detectable(values: PerProblem, rule: Rule) -> float:
    """The effect that problems as discordant as these show to be beyond the margin with power .8."""
    discordance = float(np.mean(values**2))
    return detectable_difference(
        len(values), discordance=discordance, beyond=rule.margin, alpha=1 - rule.level
    )


_GAINED: Final = {
    "WHEN": "taught {pair} when: which kind of sentence to begin",
    "HOW": "taught {pair} how: to carry out sentences that the base could not",
    "BOTH": "taught {pair} both when to begin a kind of sentence and how to carry it out",
}
_LOST: Final = {
    "WHEN": "took away from {pair} when: which kind of sentence to begin",
    "HOW": "took away from {pair} how: to carry out sentences that the base could",
    "BOTH": "took away from {pair} both when to begin a kind of sentence and how to carry it out",
}


def _sentence_of_split(judgement: Judgement) -> str:
    is_lost = judgement.gaps[judgement.decisive].change == "fall"
    taught = (_LOST if is_lost else _GAINED)[judgement.verdict].format(pair=judgement.pair)
    split, shares = judgement.splits[judgement.decisive], gap_shares(judgement)
    gap, decoded = judgement.gaps[judgement.decisive], DECODED[judgement.decisive]
    return (
        f"Training {taught}{_qualified(judgement)}. Of {split.total} points "
        f"between the spliced models ({gap} between the free ones) the onsets account for "
        f"{as_share(shares.when)}, the execution for {as_share(shares.how)} ({decoded}, {judgement.n} "
        "problems)."
    )


def _qualified(judgement: Judgement) -> str:
    """What was found besides of a WHEN: of its moments, without an oracle, of what is handed over; of a HOW,
    whether first words hand it over, so that what takes over tokens looks like a WHEN."""
    if judgement.verdict == "HOW":
        word = judgement.finding("leak").numbers.get("first word")
        if isinstance(word, Interval) and max(word.low, -word.high) > judgement.rule.margin:
            return f", and the first words of its sentences tell it, {points(word)} points of it"
        return ""
    if judgement.verdict != "WHEN":
        return ""
    falls = execution_falls(judgement.evidence, judgement.rule)
    worse = ", ".join(name for name, fall in falls.items() if fall == "rise")
    words = [f"though after a forced onset it carries out {worse} worse than the base"] * bool(worse)
    words += [
        clause
        for name, by_status in _BESIDE_WHEN.items()
        for clause in [by_status.get(judgement.finding(name).status, "")]
        if clause
    ]
    kept = judgement.finding("oracle-free").numbers.get("kept")
    share = as_share(kept) if isinstance(kept, Interval) else ""
    return "".join(f", {clause.format(kept=share)}" for clause in words)


def smallest_p(n: int, rule: Rule) -> Mapping[str, float]:
    """The smallest p that each test can attain on n problems, whatever they answer.

    Two-valued samples have exact intervals; others have draws, and no p below 1 / (1 + DRAWS).
    """
    drawn = 1 / (1 + DRAWS)
    return {
        "effect beyond the margin": max(2 * ((1 + rule.margin) / 2) ** n, 2 * drawn),
        "equivalence": max((1 - rule.margin) ** n, drawn),
        "execution": drawn,
    }


def describe_methods(judgement: Judgement) -> str:
    """A paragraph for a paper: what was run, on what, how it was decided, and by which versions."""
    evidence, rule = judgement.evidence, judgement.rule
    provenance = evidence.provenance
    if provenance is None:
        return f"Evidence about {judgement.pair} was made, not measured; it has no methods."
    parts = [
        f"Base and thinking model of {judgement.pair} (fingerprints {provenance.base[:12]} and "
        f"{provenance.thinking[:12]}) answered the same {judgement.n} problems of task {provenance.task} "
        f"(split {provenance.split}, seed {provenance.seed}), greedily and at T = 1 "
        f"({_count(provenance.samples, 'sample')} per problem; sampling noise is keyed by problem, sample, "
        f"position and token, and shared by all arms), in at most {provenance.max_new_tokens} tokens; a text "
        "that was cut off counts as wrong.",
        "In the splice factorial one model chooses the kind of every sentence and the other, or the same, "
        "writes it. WHEN and HOW are the Shapley values of onset policy and executor on the accuracies of "
        "the four cells, and sum to the gap between the models spliced onto themselves.",
        _of_execution(evidence.execution),
        f"The temperature of the sharpening control was fitted on {provenance.fitted_on} by minimising "
        "KL(thinking || base at T).",
        f"Means over problems have {rule.level:.0%} intervals from Dirichlet weights of the problems and of "
        f"one unseen problem at the worst possible value ({DRAWS} draws), which are Clopper-Pearson's where "
        "every value is at a bound, and hold for rates of execution, too; the share of the KL has Fieller's.",
        f"An effect is one where the whole interval lies beyond {100 * rule.margin:g} points; none where the "
        f"{2 * rule.level - 1:.0%} interval lies within (two one-sided tests). A cause is the whole of the "
        f"gap where the other is none, or at most {rule.minor:.0%} of it by a one-sided test.",
        "Smallest attainable p: "
        + ", ".join(f"{name} {p:.1g}" for name, p in smallest_p(judgement.n, rule).items())
        + "; claims are tested in a fixed order, without correction.",
        _of_registration(judgement),
    ]
    return " ".join(
        [part for part in parts if part] + [f"{note[0].upper()}{note[1:]}." for note in evidence.notes]
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _of_execution(execution: Mapping[str, Execution]) -> str:
    if not execution:
        return ""
    forced = ", ".join(f"{name} {int(executed.n.sum())}" for name, executed in execution.items())
    return (
        "Both models were made to begin sentences in the same texts of either, at T = 1, and the first "
        f"equation was checked (onsets forced: {forced})."
    )


def _of_registration(judgement: Judgement) -> str:
    provenance = judgement.evidence.provenance
    assert provenance is not None
    versions = ", ".join(f"{name} {number}" for name, number in provenance.versions.items())
    claims = ", ".join(f"{one.claim.name} {one.claim.hash[:8]}" for one in judgement.findings)
    opened = (
        "opened once" if provenance.split == "confirmation" else "a split that is not kept for confirmation"
    )
    if judgement.exploratory:
        opened = "exploratory: the split had been opened before"
    return (
        f"Claims and rule were fixed before, under registration {provenance.registration[:12]} ({opened}); "
        f"claims: {claims}. Versions: {versions}."
    )
