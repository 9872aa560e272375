"""Claim: a statement, the numbers that decide about it, the rule by which they do, and what came of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, final

from reasonmech.door import checked
from reasonmech.ranges import InnerShare, Share
from reasonmech.stats import Interval

Status = Literal["SUPPORTED", "REFUTED", "INCONCLUSIVE", "INVALID", "NOT MEASURED"]
VERDICTS: Final = (
    "WHEN", "HOW", "BOTH", "SHARPENED", "FORMAT", "NEITHER", "INCONCLUSIVE", "INVALID",
)  # fmt: skip
Verdict = Literal["WHEN", "HOW", "BOTH", "SHARPENED", "FORMAT", "NEITHER", "INCONCLUSIVE", "INVALID"]


@final
@checked
@dataclass(frozen=True)
class Rule:
    """The numbers that verdicts hang on, fixed before anything is measured.

    Attributes:
        margin: a change of accuracy that does not matter; a larger one is an effect (share of problems).
        minor: share of the gap up to which a cause is a minor one.
        conditional: distance of the spliced gap from the free one that does not matter (share of problems).
        sharpened: share of KL(thinking || base) that a temperature must explain.
        argmax: share of tokens up to which two models have the same most probable continuations.
        execution: rise of execution after a forced onset that does not matter (share of sentences).
        leak: share of the gap up to which a sentence's own words may be handed over.
        kept: share of what the thinking model's moments give that a controller without an oracle must keep.
        level: of every interval; equivalence is tested at 2 (1 - level), one-sidedly at 1 - level.
    """

    margin: InnerShare = 0.05
    minor: InnerShare = 0.20
    conditional: InnerShare = 0.03
    sharpened: InnerShare = 0.90
    argmax: Share = 0.02
    execution: InnerShare = 0.05
    leak: InnerShare = 0.25
    kept: InnerShare = 0.50
    level: InnerShare = 0.95


@final
@checked
@dataclass(frozen=True)
class Claim:
    """What may be said of a pair, frozen before it is looked at.

    Attributes:
        name: its place on the ladder ("C9") or a word ("sharpening").
        statement: what is claimed, as a sentence.
        statistic: what is measured.
        nulls: controls that must fail, or alternatives that must be excluded.
        decision: the rule in words.
        rule: its numbers.
        split: of problems it is decided on.
    """

    name: str
    statement: str
    statistic: str
    nulls: tuple[str, ...]
    decision: str
    rule: Rule = field(default_factory=Rule)
    split: str = "confirmation"

    @property
    def hash(self) -> str:
        """Identity of everything that was fixed: another rule, or another wording of it, is another claim."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@final
@checked
@dataclass(frozen=True)
class Finding:
    """What came of a claim.

    Attributes:
        status: of the claim.
        numbers: every number that decided, by name.
        reason: why it has this status, as a sentence with its numbers.
    """

    claim: Claim
    status: Status
    numbers: Mapping[str, Interval | float]
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain values: claim with its hash, status, numbers, reason."""
        numbers = {name: _plain(value) for name, value in self.numbers.items()}
        claim = asdict(self.claim) | {"hash": self.claim.hash}
        return {"claim": claim, "status": self.status, "numbers": numbers, "reason": self.reason}


def _plain(value: Interval | float) -> dict[str, float | None] | float | None:
    """JSON values; None for what is not finite: an end that is not bounded, a share of nothing."""
    if isinstance(value, Interval):
        return {name: number if math.isfinite(number) else None for name, number in value._asdict().items()}
    return float(value) if math.isfinite(value) else None
