"""Published rules for telling reasoning features from others, as they stand: what ours is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import ttest_ind

from reasonmech.locate.scoring.reason import WindowSums, reason_scores

Injected = Literal["token-driven", "partially token-driven", "weakly token-driven", "context-dependent"]
Scored = Literal["reasoning", "other"]
WINDOW: Final = (2, 3)  # tokens before and after a word that count as near it

_STEPS: Final[tuple[tuple[Injected, float, float], ...]] = (
    ("token-driven", 0.8, 0.01),
    ("partially token-driven", 0.5, 0.01),
    ("weakly token-driven", 0.2, 0.05),
)


def injection_rule(
    plain: Float[np.ndarray, "text feature"], injected: Float[np.ndarray, "text feature"]
) -> list[Injected]:
    """The d-rule of Ma et al. 2026 (arXiv 2601.05679): cues are injected into texts without the behaviour.

    Cohen's d of injected against plain activations, and the p of an unpaired t-test: token-driven from d =
    0.8 at p < 0.01, partially from 0.5, weakly from 0.2 at p < 0.05, else context-dependent, which is what is
    taken to be about reasoning. No placebo, no pairs, and no text with the behaviour: a feature that fires at
    any insertion is token-driven, and one that never fires is context-dependent.
    """
    n, m = len(plain), len(injected)
    spread = ((n - 1) * plain.var(0, ddof=1) + (m - 1) * injected.var(0, ddof=1)) / (n + m - 2)
    gap = injected.mean(0) - plain.mean(0)
    d = np.divide(gap, np.sqrt(spread), out=np.where(gap > 0, np.inf, 0.0), where=spread > 0)
    live = spread > 0
    p = np.where(gap != 0, 0.0, 1.0)
    _, p[live] = ttest_ind(injected[:, live], plain[:, live])
    return [_step(float(d_f), float(p_f)) for d_f, p_f in zip(d, p, strict=True)]


def _step(d: float, p: float) -> Injected:
    for name, least, most in _STEPS:
        if d >= least and p < most:
            return name
    return "context-dependent"


def reason_rule(
    activations: Float[np.ndarray, "text pos feature"],
    token: Int[np.ndarray, "text pos"],
    *,
    words: Sequence[int],
) -> list[Scored]:
    """ReasonScore (Galichin et al. 2025, arXiv 2503.18878): "reasoning" where it is positive.

    The paper takes the features above its 0.997 quantile, which among ten would be none; positive is the
    weakest sense in which the score speaks for a feature: its share of all activation is larger near the
    words than elsewhere.

    Args:
        words: token ids of the reasoning vocabulary.
    """
    near_word = [_near(token == word) for word in words]
    near = np.logical_or.reduce(near_word)
    flat = activations.reshape(-1, activations.shape[-1]).astype(np.float64)
    inside, outside = flat[near.ravel()].sum(0), flat[~near.ravel()].sum(0)
    per_word = np.stack([flat[rows.ravel()].sum(0) / max(rows.sum(), 1) for rows in near_word])
    totals = inside.sum(keepdims=True), outside.sum(keepdims=True)
    score = reason_scores(WindowSums(inside, outside, per_word, *totals))
    return ["reasoning" if value > 0 else "other" for value in score]


def _near(at: Bool[np.ndarray, "text pos"]) -> Bool[np.ndarray, "text pos"]:
    """Within the window of a token that is marked."""
    before, after = WINDOW
    near = np.zeros_like(at)
    for shift in range(-before, after + 1):
        moved = np.roll(at, shift, axis=1)
        if shift > 0:  # roll wraps: what comes back on the other side of a text is near nothing
            moved[:, :shift] = False
        elif shift < 0:
            moved[:, shift:] = False
        near |= moved
    return near
