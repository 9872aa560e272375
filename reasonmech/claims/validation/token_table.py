"""Token tables: what the two models of a case make of every token, and the temperature that explains it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

import numpy as np
from jaxtyping import Float, Int

from reasonmech.claims.validation.tabular_case import TabularCase
from reasonmech.simulators import (
    WORDED,
    TabularModel,
    TokenDistances,
    argmax_differs,
    disagreement,
    js_distances,
    kl_distances,
)

TEMPERATURES: Final = np.geomspace(0.1, 10.0, 161)
"""Temperatures of the base that are tried; 1 is among them."""

SHIFTED: Final = 0.1
"""JS [nats] from which a token counts as shifted (arXiv 2603.22446)."""

_OTHER_WORDING: Final = 2.0  # nats at a word that the models choose differently, for no reason


@final
@dataclass(frozen=True, eq=False)
class Visits:
    """The tokens of some texts, as what stands there; [problem] or [] where summed over them.

    Attributes:
        boundaries: [..., status, left] first tokens of sentences.
        agreed, disagreed: [...] words that can be wrong, by whether both models take the same one.
        worded: [...] tokens whose wording differs.
        tokens: [...] all of them.
    """

    boundaries: Float[np.ndarray, "*problem status left"]
    agreed: Float[np.ndarray, "*problem"]
    disagreed: Float[np.ndarray, "*problem"]
    worded: Float[np.ndarray, "*problem"]
    tokens: Float[np.ndarray, "*problem"]

    def per_token(self, distances: TokenDistances, *, wording: float) -> Float[np.ndarray, "*problem"]:
        """Mean divergence, nats per token."""
        total = (self.boundaries * distances.decision).sum(axis=(-2, -1)) + self.worded * wording
        total = total + self.agreed * distances.agreed + self.disagreed * distances.disagreed
        return total / self.tokens

    @property
    def total(self) -> Visits:
        """Summed over problems."""
        arrays = (self.boundaries, self.agreed, self.disagreed, self.worded, self.tokens)
        return Visits(*(array.sum(axis=0) for array in arrays))


def expected_visits(
    case: TabularCase, boundaries: Float[np.ndarray, "status left"], onsets: Float[np.ndarray, " kind"]
) -> Visits:
    """The visits of texts with so many boundaries and onsets on average."""
    worded = onsets[list(WORDED)]
    disagreed = worded @ disagreement(case.thinking, case.base)
    tokens = boundaries.sum() * (1 + case.words) + worded.sum()
    return Visits(boundaries, worded.sum() - disagreed, disagreed, tokens * case.wording, tokens)


def drawn_visits(
    case: TabularCase,
    boundaries: Int[np.ndarray, "problem status left"],
    onsets: Int[np.ndarray, "problem kind"],
    rng: np.random.Generator,
) -> Visits:
    """The visits of drawn texts: which words the models disagree about is drawn, too."""
    worded = onsets[:, list(WORDED)]
    disagreed = rng.binomial(worded, disagreement(case.thinking, case.base)).sum(axis=1)
    tokens = boundaries.sum(axis=(1, 2)) * (1 + case.words) + worded.sum(axis=1)
    other = rng.binomial(tokens, case.wording)
    return Visits(boundaries, worded.sum(axis=1) - disagreed, disagreed, other, tokens)


def kl_per_token(case: TabularCase, visits: Visits, *, temperature: float = 1.0) -> np.ndarray:
    """KL(thinking || base at a temperature), nats per token."""
    (distances,) = kl_distances(case.thinking, case.base, temperatures=(temperature,))
    return visits.per_token(distances, wording=_OTHER_WORDING)


def argmax_share(case: TabularCase, visits: Visits) -> np.ndarray:
    """Share of tokens whose most probable continuation differs."""
    where = TokenDistances(argmax_differs(case.thinking, case.base), 0.0, 1.0)
    return visits.per_token(where, wording=1.0)


def shifted_share(case: TabularCase, visits: Visits) -> np.ndarray:
    """Share of tokens whose Jensen-Shannon divergence is above `SHIFTED`."""
    js = js_distances(case.thinking, case.base)
    large = TokenDistances(
        (js.decision > SHIFTED).astype(float), float(js.agreed > SHIFTED), float(js.disagreed > SHIFTED)
    )
    return visits.per_token(large, wording=1.0)


def fit_temperature(case: TabularCase, visits: Visits) -> float:
    """The temperature of `TEMPERATURES` at which the base is nearest to the thinking model.

    Args:
        visits: summed over problems.
    """
    decision, agreed, disagreed = _at_all_temperatures(case.thinking, case.base)
    left = (visits.boundaries * decision).sum(axis=(1, 2))
    left = left + visits.agreed * agreed + visits.disagreed * disagreed
    return float(TEMPERATURES[int(np.argmin(left))])


@lru_cache(maxsize=4)
def _at_all_temperatures(
    thinking: TabularModel, base: TabularModel
) -> tuple[
    Float[np.ndarray, "temperature status left"],
    Float[np.ndarray, " temperature"],
    Float[np.ndarray, " temperature"],
]:
    distances = kl_distances(thinking, base, temperatures=TEMPERATURES.tolist())
    decision = np.array([each.decision for each in distances])
    return decision, np.array([d.agreed for d in distances]), np.array([d.disagreed for d in distances])
