"""Sharpening: is the thinking model the base at another temperature?"""

from __future__ import annotations

import math
from typing import Final

from reasonmech.claims.claim import Claim, Finding, Rule
from reasonmech.claims.effects import effect
from reasonmech.claims.evidence import Evidence, Sharpening
from reasonmech.stats import Interval, fieller, mean_interval

_SAME: Final = 1e-6  # nats per token: two models that differ by less are one
_MARGINAL: Final = 1.02  # a temperature nearer to 1 than this factor sharpens nothing


def sharpening_claim(rule: Rule) -> Claim:
    """One temperature explains the pair."""
    return Claim(
        "sharpening",
        "The thinking model is the base at another temperature.",
        "share of tokens whose argmax differs; share of KL(thinking || base) left at the fitted temperature; "
        "accuracy of the base sampled at that temperature beside the thinking model's; greedy gap",
        ("the base at T = 1",),
        f"argmax differs on at most {rule.argmax:.0%} of tokens, the temperature explains at least "
        f"{rule.sharpened:.0%} of the KL, and accuracies are equivalent within {rule.margin:.0%}: at T = 1, "
        "and greedily, which no temperature changes",
        rule,
    )


def judge_sharpening(evidence: Evidence, rule: Rule) -> Finding:
    """Whether one temperature explains the pair: same argmax, distribution and accuracies.

    Supported where all hold; refuted where one is excluded: greedy decoding is the same at every temperature,
    so that a greedy gap is none of temperature, on however few tokens the argmax differs. A pair without any
    difference has nothing that a temperature could explain.
    """
    claim = sharpening_claim(rule)
    if evidence.sharpening is None:
        return Finding(claim, "NOT MEASURED", {}, "no distribution of both models was compared")
    measured = evidence.sharpening
    if measured.kl.mean() < _SAME:
        reason = f"the models' distributions are the same (KL {measured.kl.mean():.1e} nats per token)"
        return Finding(claim, "REFUTED", {"kl": float(measured.kl.mean())}, reason)
    return _compare(claim, measured, evidence, rule)


def _compare(claim: Claim, measured: Sharpening, evidence: Evidence, rule: Rule) -> Finding:
    differs = mean_interval(measured.argmax_differs, bounds=(0.0, 1.0), level=rule.level)
    left = _share_left(measured, rule)
    accuracy = effect(evidence.outcomes["sampled"].thinking - measured.tempered, rule)
    greedy = effect(evidence.outcomes["greedy"].gap, rule)
    numbers = {
        "temperature": measured.temperature,
        "kl": float(measured.kl.mean()),
        "kl_left": left,
        "argmax_differs": differs,
        "accuracy_left": accuracy.interval,
        "greedy_gap": greedy.interval,
    }
    allowed = 1 - rule.sharpened
    summary = (
        f"at T = {measured.temperature:.2f} the base keeps {left.estimate:.0%} "
        f"[{left.low:.0%}, {left.high:.0%}] of the KL, its argmax differs on {differs.estimate:.1%} "
        f"[{differs.low:.1%}, {differs.high:.1%}] of tokens, and it is {accuracy} points from the "
        f"thinking model, and greedily {greedy}"
    )
    is_other = abs(math.log(measured.temperature)) > math.log(_MARGINAL)
    is_as_right = accuracy.change == greedy.change == "none"
    if is_other and differs.high <= rule.argmax and left.high <= allowed and is_as_right:
        return Finding(claim, "SUPPORTED", numbers, summary)
    moved = accuracy.moved or greedy.moved
    if not is_other or differs.low > rule.argmax or left.low > allowed or moved:
        return Finding(claim, "REFUTED", numbers, summary)
    return Finding(claim, "INCONCLUSIVE", numbers, summary)


def _share_left(measured: Sharpening, rule: Rule) -> Interval:
    """mean(tempered KL) / mean(KL) over problems. A KL has no upper bound, and its mean is about normal."""
    return fieller(measured.tempered_kl, measured.kl, level=rule.level)
