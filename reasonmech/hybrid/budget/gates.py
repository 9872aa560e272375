"""Gates that spend a budget: open at the disagreements that score highest, or at as many at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.errors import DataError
from reasonmech.hybrid.budget.scores import EntropyScore, TokenScore, with_ends
from reasonmech.hybrid.draws import draw_of
from reasonmech.hybrid.parts import Moment
from reasonmech.runtime.decoding.noise import uniform

DECILES: Final = 10
_STREAM: Final = "hybrid gate at a score"


class OpeningRule(NamedTuple):
    """Where a score opens a gate.

    Attributes:
        above: every score greater than this opens it.
        at: probability with which a score that is just this opens it: many tokens may have one score.
    """

    above: float
    at: float = 0.0


def fit_rules(values: Float[np.ndarray, " place"], shares: Sequence[float]) -> tuple[OpeningRule, ...]:
    """The rules that open a gate at these shares of places with such scores, the highest first.

    Raises:
        DataError: no place.
    """
    if not len(values):
        raise DataError("no place to rank: the models would write the same tokens everywhere")
    rules, falling = [], -np.sort(-np.asarray(values, dtype=np.float64))
    for share in shares:
        wanted = share * len(falling)
        threshold = falling[min(int(wanted), len(falling) - 1)]
        above, equal = (falling > threshold).sum(), (falling == threshold).sum()
        rules.append(OpeningRule(float(threshold), float((wanted - above) / equal)))
    return tuple(rules)


@dataclass(frozen=True, eq=False)
class ScoreGate:
    """Open where the two models would write different tokens and a score is high.

    Attributes:
        rules: of one or several runs in one batch; the first `rows` rows are under the first rule, and so on.
        rows: rows per rule; 0: all rows are under the only rule.
    """

    score: TokenScore
    rules: tuple[OpeningRule, ...]
    rows: int = 0

    def with_ends(self, ends: Sequence[int]) -> ScoreGate:
        return replace(self, score=with_ends(self.score, ends))

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        above, at = torch.tensor(self.rules, dtype=torch.float64)[_rule_of(moment, self.rows)].T
        score = self.score.of(moment)
        drawn = uniform(moment.keys, moment.position, stream=_STREAM)
        return ((score > above) | ((score == above) & (drawn < at))) & moment.apart


@dataclass(frozen=True, eq=False)
class EntropyMatchedGate:
    """Null of a score: open at disagreements drawn at random, as often within every decile of the base's
    entropy as the score opens.

    What a score recovers beyond this it owes to something else than to where the base is in doubt.

    Attributes:
        edges: [9] entropies [nats] between deciles.
        rates: [rule, decile] probability that a disagreement opens the gate.
        rows: rows per rule; 0: all rows are under the only rule.
        seed: of what is drawn.
    """

    edges: Float[Tensor, " edge"]
    rates: Float[Tensor, "rule decile"]
    rows: int = 0
    seed: int = 0

    @classmethod
    def of(
        cls, values: Float[np.ndarray, " place"], entropies: Float[np.ndarray, " place"], gate: ScoreGate
    ) -> EntropyMatchedGate:
        """As often as the gate opens at places with these scores and entropies."""
        edges = np.quantile(entropies, np.arange(1, DECILES) / DECILES)
        decile, rates = np.searchsorted(edges, entropies, side="right"), []
        for above, at in gate.rules:
            opens = (values > above) + (values == above) * at
            sums = np.bincount(decile, opens, minlength=DECILES)
            rates.append(sums / np.maximum(np.bincount(decile, minlength=DECILES), 1))
        return cls(torch.tensor(edges), torch.tensor(np.array(rates)), gate.rows)

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        decile = torch.bucketize(EntropyScore().of(moment), self.edges, right=True)
        rate = self.rates[_rule_of(moment, self.rows), decile]
        drawn = uniform(moment.keys, moment.position, stream=f"{_STREAM} {self.seed}")
        return (drawn < rate) & moment.apart


def _rule_of(moment: Moment, rows: int) -> Int[Tensor, " batch"]:
    """Number of the rule that each row is under."""
    return draw_of(moment, rows) if rows else torch.zeros(len(moment.keys), dtype=torch.long)
