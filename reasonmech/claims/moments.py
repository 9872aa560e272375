"""What belongs to a WHEN besides its factorial: the moments, what a sentence's words hand over, an oracle."""

from __future__ import annotations

from typing import Final

import numpy as np

from reasonmech.claims.claim import Claim, Finding, Rule, Status
from reasonmech.claims.effects import Effect, as_share, effect, is_material, is_minor
from reasonmech.claims.evidence import ANOTHER, ORACLE_FREE, OWN, Evidence, PerProblem
from reasonmech.stats import SHARE, Interval, mean_interval, null_distribution, recovery

_BESIDE: Final = (-2.0, 2.0)  # what a difference of two differences of shares can be
_SIGNIFICANT: Final = 0.05  # of which 20 draws allow a p
_NOT_RUN: Final = "no controller was run: judge in full"
_NO_MOMENT: Final = "the thinking model begins the kinds that the base would: there is no moment of its own"
_NO_PROBE: Final = "no probe could be fitted"
_WITHOUT: Final = "the onsets give the base {} points: there is nothing to look for"


def moments_claim(rule: Rule) -> Claim:
    """The onsets are worth what they are because of when they come."""
    return Claim(
        "moments",
        "The thinking model's kinds help the base at the moments at which it begins them, and not at others.",
        "right answers of the base made to begin these kinds where the thinking model does, less those where "
        "as many per text come at boundaries drawn among all of it",
        ("the same kinds at other boundaries of the text, 20 draws", "another problem's moments and kinds"),
        f"above both nulls by more than {rule.margin:.0%} with the whole interval, and p <= {_SIGNIFICANT} "
        f"among the draws; refuted where a null is equivalent within {rule.margin:.0%}, or above",
        rule,
    )


def judge_moments(evidence: Evidence, rule: Rule) -> Finding:
    """Whether the same kinds at other moments do less."""
    claim, draws = moments_claim(rule), evidence.other_moments()
    if OWN not in evidence.arms:
        return Finding(claim, "NOT MEASURED", {}, _NO_MOMENT if evidence.same else _NOT_RUN)
    base, at_own, another = _base(evidence), evidence.arms[OWN], evidence.arms[ANOTHER]
    gain = effect(at_own - base, rule)
    if not gain.moved:
        return Finding(claim, "NOT MEASURED", {"given": gain.interval}, _WITHOUT.format(gain))
    sign = 1.0 if gain.change == "rise" else -1.0
    right = (at_own, draws) if sign > 0 else (1 - at_own, 1 - draws)
    among = null_distribution(*right, level=rule.level)
    above = [effect(sign * (at_own - null), rule) for null in (draws.mean(0), another)]
    reached = [_reached(base, at_own, null, rule) for null in (draws.mean(0), another)]
    status: Status = "INCONCLUSIVE"
    if any(each.change in ("none", "fall") for each in above):
        status = "REFUTED"
    elif all(each.change == "rise" for each in above) and among.p <= _SIGNIFICANT:
        status = "SUPPORTED"
    numbers: dict[str, Interval | float] = {
        "given": gain.interval,
        "above other moments": above[0].interval,
        "above another problem's": above[1].interval,
        "reached at other moments": reached[0],
        "reached at another problem's": reached[1],
        "p": among.p,
        "smallest p": among.smallest_p,
        "null's 95 % quantile": among.quantile,
    }
    reason = (
        f"of {gain} points that the kinds give the base, they give {as_share(reached[0])} at "
        f"other moments (p {among.p:.2g} among {among.n} draws, {among.smallest_p:.2g} at the least) and "
        f"{as_share(reached[1])} at another problem's"
    )
    return Finding(claim, status, numbers, reason)


def oracle_free_claim(rule: Rule) -> Claim:
    """The base's own activations name the moments."""
    return Claim(
        "oracle-free",
        "The base's own activations name the moments: a controller that reads nothing else keeps the gain.",
        "gain of the base under a linear probe of its stream, fitted on other problems, as a share of the "
        "gain at the thinking model's moments",
        ("the base alone",),
        f"above {rule.kept:.0%}, one-sidedly at {rule.level:.0%}; refuted where below",
        rule,
    )


def judge_oracle_free(evidence: Evidence, rule: Rule) -> Finding:
    """Whether a controller without an oracle keeps half."""
    claim = oracle_free_claim(rule)
    if OWN not in evidence.arms:
        return Finding(claim, "NOT MEASURED", {}, _NO_MOMENT if evidence.same else _NOT_RUN)
    if ORACLE_FREE not in evidence.arms:
        return Finding(claim, "NOT MEASURED", {}, _NO_PROBE)
    base, at_own, arm = _base(evidence), evidence.arms[OWN], evidence.arms[ORACLE_FREE]
    gain = effect(at_own - base, rule)
    if not gain.moved:
        return Finding(claim, "NOT MEASURED", {"given": gain.interval}, _WITHOUT.format(gain))
    sign = 1.0 if gain.change == "rise" else -1.0
    beyond = mean_interval(
        sign * ((arm - base) - rule.kept * (at_own - base)), bounds=_BESIDE, level=1 - 2 * (1 - rule.level)
    )
    status: Status = "SUPPORTED" if beyond.low > 0 else "REFUTED" if beyond.high < 0 else "INCONCLUSIVE"
    kept = _reached(base, at_own, arm, rule)
    reason = f"without an oracle {as_share(kept)} of the {gain} points are kept that the kinds give"
    return Finding(claim, status, {"given": gain.interval, "kept": kept}, reason)


def leak_claim(rule: Rule) -> Claim:
    """Beginning a sentence hands over its kind, and no more."""
    return Claim(
        "leak",
        "Beginning a sentence hands over its kind, and hardly anything of what it says.",
        "right answers where the thinking model writes the first word of every sentence, less those where it "
        "chooses the kind alone; and where it writes the first 16 tokens, less those with the first",
        ("the kind in the base's own words",),
        f"each is at most {rule.leak:.0%} of the gap, one-sidedly at {rule.level:.0%}; refuted where one is "
        "more",
        rule,
    )


def judge_leak(evidence: Evidence, rule: Rule) -> Finding:
    """Whether more than a kind has to be handed over."""
    claim, outcomes = leak_claim(rule), evidence.outcomes["greedy"]
    if not evidence.same or not {1, 16} <= set(evidence.leak):
        return Finding(claim, "NOT MEASURED", {}, _NOT_RUN)
    gap = effect(outcomes.gap, rule)
    parts = {
        "first word": evidence.leak[1] - outcomes.cells.tb,
        "further words": evidence.leak[16] - evidence.leak[1],
    }
    effects = {name: effect(part, rule) for name, part in parts.items()}
    numbers: dict[str, Interval | float] = {name: each.interval for name, each in effects.items()}
    if not gap.moved:
        return Finding(claim, "NOT MEASURED", numbers, f"the gap is {gap} points: there is nothing to leak")
    sign = 1.0 if gap.change == "rise" else -1.0
    statuses = {_leaks(sign * part, sign * outcomes.gap, effects[name], rule) for name, part in parts.items()}
    status: Status = "SUPPORTED"
    if "REFUTED" in statuses:
        status = "REFUTED"
    elif "INCONCLUSIVE" in statuses:
        status = "INCONCLUSIVE"
    reason = (
        f"of a gap of {gap} points, first words say {effects['first word']} beyond their kind, and further "
        f"words {effects['further words']}"
    )
    return Finding(claim, status, numbers, reason)


def _leaks(part: PerProblem, gap: PerProblem, measured: Effect, rule: Rule) -> Status:
    if measured.change == "none" or is_minor(part, gap, rule, share=rule.leak):
        return "SUPPORTED"
    return "REFUTED" if is_material(part, gap, rule, share=rule.leak) else "INCONCLUSIVE"


def takeover_claim(rule: Rule) -> Claim:
    """Choosing kinds is letting the thinking model write."""
    return Claim(
        "takeover",
        "The base with the thinking model's kinds writes the thinking model's text.",
        "share of problems on which both write one text, greedily",
        (),
        "on more than 95 % of problems, one-sidedly; refuted where on fewer",
        rule,
    )


def judge_takeover(evidence: Evidence, rule: Rule) -> Finding:
    """Whether a controlled text is the thinking model's own: then nothing but the kinds can have mattered."""
    claim = takeover_claim(rule)
    if not evidence.same:
        return Finding(claim, "NOT MEASURED", {}, _NOT_RUN)
    (values,) = evidence.same.values()
    narrow = mean_interval(values, bounds=SHARE, level=1 - 2 * (1 - rule.level))
    share = mean_interval(values, bounds=SHARE, level=rule.level)
    status: Status = "SUPPORTED" if narrow.low > 0.95 else "REFUTED" if narrow.high < 0.95 else "INCONCLUSIVE"
    reason = f"both write one text on {int(np.sum(values))} of {evidence.n} problems"
    return Finding(claim, status, {"share": share}, reason)


def _base(evidence: Evidence) -> PerProblem:
    return evidence.outcomes["greedy"].base


def _reached(base: PerProblem, at_own: PerProblem, arm: PerProblem, rule: Rule) -> Interval:
    """The share of what the own moments give that an arm gives."""
    share = recovery(base, at_own, arm, level=rule.level)
    return Interval(share.estimate, share.low, share.high, rule.level)
