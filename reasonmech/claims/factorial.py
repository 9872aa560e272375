"""C9 and C10: is the gap one of when sentences of a kind are begun, or of how they are carried out?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, final

from reasonmech.claims.claim import Claim, Finding, Rule, Status
from reasonmech.claims.effects import Effect, effect, is_material, is_minor
from reasonmech.claims.evidence import Decoding, Outcomes
from reasonmech.stats import Interval

Cause = Literal["WHEN", "HOW", "BOTH", "opposite", "none", "undecided"]
_OUTSIDE: Final = (-2.0, 2.0)
_NULLS: Final = (
    "the same kinds begun by one canonical word in every cell",
    "the base's and the thinking model's own onsets, spliced onto themselves",
)


@final
@dataclass(frozen=True)
class SplitGap:
    """A gap cut into what the onsets do, what the execution does, and what lies in no splice.

    Attributes:
        when, how, total, outside: mean effects; when + how = total, total + outside = the gap.
        conditional: the spliced runs are not within the margin of the free ones: the split is one of other
            texts than the models' own, and says so.
        cause: which of the two made the gap; opposite: one raises it and the other lowers it, neither of
            them a minor one.
    """

    when: Effect
    how: Effect
    total: Effect
    outside: Effect
    conditional: bool
    cause: Cause

    def numbers(self) -> dict[str, Interval | float]:
        """The intervals by name, and the shares of the gap as point estimates."""
        gap = self.total.interval.estimate + self.outside.interval.estimate
        parts = {"when": self.when, "how": self.how, "outside": self.outside}
        shares = {
            f"share_{name}": part.interval.estimate / gap if gap else float("nan")
            for name, part in parts.items()
        }
        return {name: part.interval for name, part in (*parts.items(), ("total", self.total))} | shares

    def __str__(self) -> str:
        text = f"WHEN {self.when}, HOW {self.how} points"
        if self.conditional:
            text += f"; of spliced texts, which lie {self.outside} points from the free-running gap"
        return text


def split_gap(outcomes: Outcomes, rule: Rule) -> SplitGap:
    """The factorial of one decoding. A loss is split as a gain is, with its sign turned."""
    cells = outcomes.cells
    when, how, total = (effect(part, rule) for part in (cells.when, cells.how, cells.total))
    outside = effect(outcomes.outside, rule, margin=rule.conditional, bounds=_OUTSIDE)
    sign = 1.0 if total.interval.estimate >= 0 else -1.0
    whole = sign * cells.total
    is_small = {
        "when": when.change == "none" or is_minor(sign * cells.when, whole, rule),
        "how": how.change == "none" or is_minor(sign * cells.how, whole, rule),
    }
    cause: Cause = "undecided"
    if when.moved and is_small["how"]:
        cause = "WHEN"
    elif how.moved and is_small["when"]:
        cause = "HOW"
    elif when.moved and how.moved and when.change != how.change:
        cause = "opposite"
    elif (
        when.moved and how.moved and all(is_material(sign * p, whole, rule) for p in (cells.when, cells.how))
    ):
        cause = "BOTH"
    elif when.change == "none" and how.change == "none":
        cause = "none"
    return SplitGap(when, how, total, outside, outside.change != "none", cause)


def when_claim(rule: Rule) -> Claim:
    """C9, frozen."""
    return _factor_claim(
        "C9",
        "Training changed when: which kind of sentence is begun, and that made the gap, a gain or a loss.",
        "WHEN = 1/2 [(S_TB - S_BB) + (S_TT - S_BT)]",
        ("WHEN", "HOW"),
        rule,
    )


def judge_when(splits: Mapping[Decoding, SplitGap], decisive: Decoding, rule: Rule) -> Finding:
    """C9: reinforcement learning changed when."""
    return _judge(when_claim(rule), splits, decisive, "WHEN")


def how_claim(rule: Rule) -> Claim:
    """C10, frozen."""
    return _factor_claim(
        "C10",
        "Training changed how: how well sentences are carried out, and that made the gap, a gain or a loss.",
        "HOW = 1/2 [(S_BT - S_BB) + (S_TT - S_TB)]",
        ("HOW", "WHEN"),
        rule,
    )


def judge_how(splits: Mapping[Decoding, SplitGap], decisive: Decoding, rule: Rule) -> Finding:
    """C10: reinforcement learning changed how."""
    return _judge(how_claim(rule), splits, decisive, "HOW")


def _factor_claim(name: str, statement: str, formula: str, factors: tuple[str, str], rule: Rule) -> Claim:
    """The claim that the first factor is the cause, and the second is not."""
    factor, other = factors
    return Claim(
        name,
        statement,
        f"{formula} of the splice factorial, greedy and at T = 1",
        _NULLS,
        f"{factor} is beyond {rule.margin:.0%} with its whole interval, and {other} is equivalent to 0 "
        f"within {rule.margin:.0%} or at most {rule.minor:.0%} of their sum",
        rule,
    )


def _judge(claim: Claim, splits: Mapping[Decoding, SplitGap], decisive: Decoding, cause: Cause) -> Finding:
    split = splits[decisive]
    status: Status = "INCONCLUSIVE"
    if split.cause != "undecided":
        status = "SUPPORTED" if split.cause == cause else "REFUTED"
    numbers = {
        f"{name}.{key}": value for name, other in splits.items() for key, value in other.numbers().items()
    }
    summary = "; ".join(f"{name}: {other}" for name, other in splits.items())
    return Finding(claim, status, numbers, summary)
