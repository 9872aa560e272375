"""Format, length, luck: is the gap gone when an answer's wording, its room, or a guess does not count?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from reasonmech.claims.claim import Claim, Finding, Rule, Status
from reasonmech.claims.effects import Effect, as_share, effect, is_below, is_minor
from reasonmech.claims.evidence import Decoding, Outcomes, PerProblem
from reasonmech.stats import SHARE

_VANISHED: Final = (-2.0, 2.0)  # what the difference of two gaps can be


def format_claim(rule: Rule) -> Claim:
    """The gap is one of stating the answer."""
    return Claim(
        "format",
        "The base works the answers out, and does not state them so that they count.",
        "gap between the models, and the gap where the last value that was worked out counts as the answer",
        ("the strict grader",),
        _decision(rule),
        rule,
    )


def judge_format(outcomes: Outcomes, rule: Rule) -> Finding:
    """Whether the gap is one of stating the answer: gone where the last value worked out counts as one."""
    claim = format_claim(rule)
    return _explain(
        claim, outcomes, left=outcomes.reached_gap, without="counting what was worked out", rule=rule
    )


def length_claim(rule: Rule) -> Claim:
    """The gap is one of room."""
    return Claim(
        "length",
        "One model's texts are cut off before they arrive.",
        "gap between the models, and the gap where both have twice the tokens",
        ("both models with as many tokens as all arms have",),
        f"{_decision(rule)}, and so is what either model gains, and the share of its texts that is cut off "
        "at twice the tokens, too; a pair without a gap needs none with twice the tokens, and no such texts",
        rule,
    )


def judge_length(outcomes: Mapping[Decoding, Outcomes], decisive: Decoding, rule: Rule) -> Finding:
    """Whether the gap is one of room: gone, or made, where both models have twice the tokens."""
    chosen = outcomes[decisive]
    both = chosen.roomy_thinking is not None
    without = f"with twice the tokens for {'both' if both else 'the base'}"
    finding = _explain(length_claim(rule), chosen, left=chosen.roomy_gap, without=without, rule=rule)
    change = effect(chosen.gap, rule).change
    if change == "undecided":
        return finding
    if change == "none":
        doubts = [*_hidden(outcomes, rule), *_endless(outcomes, rule)]
        reason = f"the limit may hide a gap: {', '.join(doubts)}"
    else:
        gains = [] if finding.status == "SUPPORTED" else _gains(chosen, rule)
        doubts = [*gains, *_endless({decisive: chosen}, rule)]
        reason = f"{finding.reason}; {', '.join(doubts)}"
    return replace(finding, status="INCONCLUSIVE", reason=reason) if doubts else finding


def _gains(outcomes: Outcomes, rule: Rule) -> Iterator[str]:
    """What a model gains from twice the tokens that is not small beside the gap, though the gap stays."""
    if outcomes.roomy_thinking is None:
        return
    gains = {
        "base": outcomes.roomy_base - outcomes.base,
        "thinking model": outcomes.roomy_thinking - outcomes.thinking,
    }
    for who, gain in gains.items():
        if not _is_small(gain, _size(outcomes), rule):
            yield f"the {who} gains {effect(gain, rule)} points from them"


def _hidden(outcomes: Mapping[Decoding, Outcomes], rule: Rule) -> Iterator[str]:
    """Gaps that are not equivalent to 0 where both models have twice the tokens."""
    for decoding, each in outcomes.items():
        gap = effect(each.roomy_gap, rule)
        if each.roomy_thinking is not None and gap.change != "none":
            yield f"{gap} points with twice the tokens for both ({decoding})"


def _endless(outcomes: Mapping[Decoding, Outcomes], rule: Rule) -> Iterator[str]:
    """Texts that are cut off with twice the tokens, too, where they are not few beside the gap.

    What they would answer is not known: that they are wrong is no finding about the model.
    """
    for decoding, each in outcomes.items():
        for who, cut in (("base", each.endless_base), ("thinking model", each.endless_thinking)):
            if cut is not None and cut.any() and not _is_small(cut, _size(each), rule):
                share = as_share(effect(cut, rule, bounds=SHARE).interval)
                yield f"{share} of the {who}'s texts are cut off at twice the tokens, too ({decoding})"


def _size(outcomes: Outcomes) -> PerProblem:
    """The gap, turned so that its mean is not negative [problem]."""
    return _turned(outcomes.gap)


def _turned(gap: PerProblem) -> PerProblem:
    return np.where(gap.mean() < 0, -1.0, 1.0) * gap


def _decision(rule: Rule) -> str:
    """How it is decided whether the gap is gone where something does not count."""
    return (
        f"what is left of the gap is equivalent to 0 within {rule.margin:.0%}, or at most "
        f"{rule.minor:.0%} of it; refuted where what vanishes is equivalent to 0, or at most "
        f"{rule.minor:.0%} of it"
    )


def _explain(claim: Claim, outcomes: Outcomes, *, left: PerProblem, without: str, rule: Rule) -> Finding:
    gap, rest = effect(outcomes.gap, rule), effect(left, rule)
    sign = 1.0 if gap.interval.estimate >= 0 else -1.0
    status = _status(sign * outcomes.gap, sign * left, gap, rest, rule)
    reason = f"the gap is {gap} points, and {rest} {without}"
    return Finding(claim, status, {"gap": gap.interval, "left": rest.interval}, reason)


def _status(gap: PerProblem, left: PerProblem, whole: Effect, rest: Effect, rule: Rule) -> Status:
    if not whole.moved:  # there is nothing to explain, unless the alternative made a difference
        return "REFUTED" if whole.change == "none" else "INCONCLUSIVE"
    if rest.change == "none" or is_minor(left, gap, rule):
        return "SUPPORTED"
    return "REFUTED" if _is_small(gap - left, gap, rule, bounds=_VANISHED) else "INCONCLUSIVE"


def _is_small(
    part: PerProblem, gap: PerProblem, rule: Rule, *, bounds: tuple[float, float] = (-1.0, 1.0)
) -> bool:
    """Whether a part is equivalent to 0, or at most `rule.minor` of the gap, which is positive."""
    return effect(part, rule, bounds=bounds).change == "none" or is_minor(part, gap, rule)


def luck_claim(rule: Rule) -> Claim:
    """The gap is one of guesses."""
    return Claim(
        "luck",
        "The models differ in how often they guess right.",
        "gap between the spliced models, and the gap, WHEN and HOW where every step must be right; right "
        "answers without every step right, less those of the most frequent answer on the same texts",
        ("the grader, which reads answers alone", "one answer to all problems"),
        f"with every step right gap, WHEN and HOW are equivalent to 0 within {rule.margin:.0%}, and without "
        f"the better model is right on less than {rule.margin:.0%} of problems, or {rule.minor:.0%} of the "
        "gap, more than the most frequent answer; refuted where the gap with every step right is beyond",
        rule,
    )


def judge_luck(outcomes: Outcomes, rule: Rule, *, constant: PerProblem | None = None) -> Finding:
    """Whether the gap is one of guesses: gone where an answer counts only with every step before it right.

    A model that is right more often without work than any one answer could be does not guess: where it has
    its answers from is not known.

    Args:
        constant: [problem] whether the most frequent answer is right; None: that is not known.
    """
    claim = luck_claim(rule)
    if outcomes.verified is None:
        return Finding(claim, "NOT MEASURED", {}, "the task cannot verify steps")
    gap, left = effect(outcomes.cells.total, rule), effect(outcomes.verified.total, rule)
    numbers = {"gap": gap.interval, "verified": left.interval}
    reason = f"the spliced models are {gap} points apart, {left} with every step right"
    if left.moved or not gap.moved:
        status: Status = "REFUTED" if left.moved or gap.change == "none" else "INCONCLUSIVE"
        return Finding(claim, status, numbers, reason)
    factors = [effect(part, rule) for part in (outcomes.verified.when, outcomes.verified.how)]
    if left.change == "none" and any(factor.change != "none" for factor in factors):
        reason += f", of which WHEN {factors[0]} and HOW {factors[1]}"
    is_gone = left.change == "none" and all(factor.change == "none" for factor in factors)
    better = "tt" if gap.change == "rise" else "bb"
    right, verified = getattr(outcomes.cells, better), getattr(outcomes.verified, better)
    if constant is None:  # whoever is hardly ever wrong does not guess, whatever one answer would reach
        reason += "; how often one answer to all would be right is not known"
        is_gone = is_gone and effect(1 - right, rule).change == "rise"
    else:
        more_by_problem = (right - verified) - constant * (1 - verified)
        more, size = effect(more_by_problem, rule), _turned(outcomes.cells.total)
        numbers["beyond one answer"] = more.interval
        reason += (
            f"; without it the better one is right {more} points more often than the most frequent answer"
        )
        is_gone = is_gone and (more.narrow.high < rule.margin or is_below(more_by_problem, size, rule))
    return Finding(claim, "SUPPORTED" if is_gone else "INCONCLUSIVE", numbers, reason)
