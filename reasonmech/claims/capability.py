"""C8: can the base carry out what the thinking model does, once it is made to begin it?"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from reasonmech.claims.claim import Claim, Finding, Rule
from reasonmech.claims.effects import points
from reasonmech.claims.evidence import Evidence, Execution
from reasonmech.stats import Interval, rate_interval

Rise = Literal["none", "rise", "undecided"]


def capability_claim(rule: Rule) -> Claim:
    """C8, frozen."""
    return Claim(
        "C8",
        "The base can do what the thinking model does: made to begin a sentence, it carries it out no worse.",
        "share of sentences carried out as they should be after a forced onset, on the same texts for both",
        ("texts of both models",),
        f"for every behaviour the thinking model is better by less than {rule.execution:.0%}, at level "
        f"{rule.level:.0%}; refuted where one is better by more",
        rule,
    )


def judge_capability(evidence: Evidence, rule: Rule) -> Finding:
    """Execution after the same forced onsets: does the thinking model do it better than the base?

    Supported where no behaviour is carried out better by more than the margin, by a one-sided test each.
    """
    claim = capability_claim(rule)
    if not evidence.execution:
        return Finding(claim, "NOT MEASURED", {}, "no onset of a behaviour can be forced in this task")
    rises = {name: execution_rise(executed, rule) for name, executed in evidence.execution.items()}
    numbers = {f"rise of {name}": interval for name, (interval, _) in rises.items()}
    summary = ", ".join(f"{name} {points(interval)}" for name, (interval, _) in rises.items())
    reason = f"thinking - base after a forced onset, in points: {summary}"
    if worse := [name for name, fall in execution_falls(evidence, rule).items() if fall == "rise"]:
        reason += f"; the thinking model is worse at {', '.join(worse)}"
    changes = {change for _, change in rises.values()}
    if "rise" in changes:
        return Finding(claim, "REFUTED", numbers, reason)
    return Finding(claim, "INCONCLUSIVE" if "undecided" in changes else "SUPPORTED", numbers, reason)


def execution_falls(evidence: Evidence, rule: Rule) -> dict[str, Rise]:
    """Behaviour -> whether the base carries it out better than the thinking model: a rise the other way."""
    return {
        name: execution_rise(replace(executed, base=executed.thinking, thinking=executed.base), rule)[1]
        for name, executed in evidence.execution.items()
    }


def execution_rise(executed: Execution, rule: Rule) -> tuple[Interval, Rise]:
    """How much better the thinking model carries a behaviour out, and whether that is beyond the margin."""
    interval = _difference(executed, level=rule.level)
    narrow = _difference(executed, level=1 - 2 * (1 - rule.level))
    if interval.low > rule.execution:
        return interval, "rise"
    return interval, "none" if narrow.high < rule.execution else "undecided"


def _difference(executed: Execution, *, level: float) -> Interval:
    """thinking - base, as a share of the sentences forced.

    As the rate of (thinking - base + n) / 2 hits of n, which has bounds: two models that never differed in n
    problems may differ in others.
    """
    rate = rate_interval((executed.thinking - executed.base + executed.n) / 2, executed.n, level=level)
    return Interval(2 * rate.estimate - 1, 2 * rate.low - 1, 2 * rate.high - 1, level)
