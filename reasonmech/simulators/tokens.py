"""How far apart two tabular models are token by token: decisions, words of the execution, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float

from reasonmech.door import checked
from reasonmech.simulators.policy import BACKTRACK, CHECK, CONCLUDE, STEP
from reasonmech.simulators.tabular_model import TabularModel, sharpen

WORDED: Final = (STEP, CHECK, BACKTRACK, CONCLUDE)
"""Kinds of sentences with a word that can be wrong; a hedge has none."""

_LEAST: Final = 1e-9  # probability that any model leaves to any token


@final
@checked
@dataclass(frozen=True, eq=False)
class TokenDistances:
    """A divergence between two models' next-token distributions, nats, by where the token stands.

    Attributes:
        decision: [status, left] at the first token of a sentence.
        agreed: at a word that both models think the most probable.
        disagreed: at a word whose most probable value differs.
    """

    decision: Float[np.ndarray, "status left"]
    agreed: float
    disagreed: float


@checked
def kl_distances(
    thinking: TabularModel, base: TabularModel, *, temperatures: Sequence[float] = (1.0,)
) -> list[TokenDistances]:
    """KL(thinking || base), the base at each of some temperatures."""
    decisions, own_decisions = thinking.onset.table(), base.onset.table()
    word = thinking.word_at(1.0)
    distances = []
    for temperature in temperatures:
        other = base.word_at(temperature)
        decision = _kl(decisions, sharpen(own_decisions, temperature))
        distances.append(TokenDistances(decision, *_at_words(word, other, _kl)))
    return distances


def js_distances(thinking: TabularModel, base: TabularModel) -> TokenDistances:
    """Jensen-Shannon divergence, at most ln 2."""
    decision = _js(thinking.onset.table(), base.onset.table())
    return TokenDistances(decision, *_at_words(thinking.word_at(1.0), base.word_at(1.0), _js))


def argmax_differs(thinking: TabularModel, base: TabularModel) -> Float[np.ndarray, "status left"]:
    """1 where the two models' likeliest kind of sentence is another one, else 0."""
    first, second = (model.onset.table().argmax(axis=-1) for model in (thinking, base))
    return (first != second).astype(float)


def disagreement(thinking: TabularModel, base: TabularModel) -> Float[np.ndarray, " worded"]:
    """Share of words, by kind in the order of `WORDED`, whose most probable value differs.

    What the less able model knows, the other one knows too; where neither does they take the same word.
    """
    names = ("step", "check", "backtrack", "conclude")
    return np.array([abs(getattr(thinking.known, name) - getattr(base.known, name)) for name in names])


def _at_words(
    first: np.ndarray, second: np.ndarray, measure: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[float, float]:
    """Where both models take the same word, and where they take different ones."""
    return float(measure(first, second)), float(measure(first, np.roll(second, 1)))


def _kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (p * np.log(np.maximum(p, _LEAST) / np.maximum(q, _LEAST))).sum(axis=-1)


def _js(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    middle = (p + q) / 2
    return (_kl(p, middle) + _kl(q, middle)) / 2
