"""Divergence: how far apart the two models' next-token distributions are, token by token of either's text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple, final

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from reasonmech.arguments import check_real
from reasonmech.errors import DataError
from reasonmech.hosts import ModelPair
from reasonmech.pairwise.base import COLUMNS, ComparedModels, PairMeasure, PairRollouts, measures
from reasonmech.pairwise.distances import entropy, js, kl
from reasonmech.pairwise.log_probs import chosen_log_probs
from reasonmech.rollout import Rollouts

BOTH: Final = "base and thinking"
TEMPERATURES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0)


class TokenDivergences(NamedTuple):
    """What the model-chosen tokens of one text say; per token, or with one row per temperature."""

    js: Float[np.ndarray, " token"]
    kl: Float[np.ndarray, " token"]
    entropy: Float[np.ndarray, " token"]  # of the thinking model
    tempered_js: Float[np.ndarray, "temperature token"]
    tempered_entropy: Float[np.ndarray, "temperature token"]


@final
@dataclass(frozen=True)
class Divergence(PairMeasure):
    """Jensen-Shannon divergence of the two models' next tokens, and the share of tokens where it is large.

    On the text of either model, teacher-forced, at the tokens that the model chose (environment tokens are
    left out, the end of the text counts), at temperature 1 over the whole vocabulary:
    JS = (KL(b || m) + KL(t || m)) / 2 with m = (b + t) / 2 (as arXiv 2603.22446 measures it).

    The control is the base beside itself at the one of `TEMPERATURES` at which its mean entropy is nearest to
    the thinking model's: what mere sharpening would give. A pair that does not exceed it differs in
    temperature, as far as this statistic can tell; and none of it tells *when* from *how*.

    Args:
        threshold: JS [nats] from which a token counts as shifted.

    Raises:
        DataError: a threshold outside (0, ln 2).
    """

    threshold: float = 0.1

    def __post_init__(self) -> None:
        check_real(self.threshold, name="threshold", allowed="a number, in nats", do="threshold=0.1")
        if not 0 < self.threshold < math.log(2):
            raise DataError(
                f"threshold {self.threshold}",
                allowed="above 0 and below ln 2 = 0.693, the largest JS there is",
            )

    @property
    def name(self) -> str:
        return "divergence"

    def measure(self, pair: ModelPair, rollouts: PairRollouts) -> pd.DataFrame:
        """Of each model's text: mean JS and KL(thinking || base) per token, share of shifted tokens."""
        rows = []
        for side, texts in rollouts.sides().items():
            rows += self._rows(side, texts, [_compare(b, t) for b, t in chosen_log_probs(pair, texts)])
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _rows(self, side: str, texts: Rollouts, tokens: list[TokenDivergences]) -> list[dict[str, object]]:
        chosen = [i for i, of_text in enumerate(tokens) if len(of_text.js)]
        if not chosen:
            raise DataError(f"no text of the {side} model has a token that it chose", do="give its rollouts")
        problems = [texts[i].problem.id for i in chosen]
        number = _matching_temperature([tokens[i] for i in chosen])
        pairs = ComparedModels(self.name, side, BOTH)
        control = ComparedModels(self.name, side, f"base and base at T = {TEMPERATURES[number]:g}")
        rows = []
        for comparison, apart in (
            (pairs, [tokens[i].js for i in chosen]),
            (control, [tokens[i].tempered_js[number] for i in chosen]),
        ):
            rows.append(comparison.row("js", _means(apart), problems, unit="nats per token"))
            shifted = [of_text > self.threshold for of_text in apart]
            rows.append(comparison.row(f"js > {self.threshold:g}", _means(shifted), problems, unit="share"))
        forward = _means([tokens[i].kl for i in chosen])
        return [*rows, pairs.row("kl(thinking || base)", forward, problems, unit="nats per token")]


measures.register("divergence")(Divergence)  # called, so that type checkers keep the class


def divergence(pair: ModelPair, rollouts: PairRollouts, *, threshold: float = 0.1) -> pd.DataFrame:
    """`Divergence(threshold).measure(pair, rollouts)`: rows of `pairwise.COLUMNS`."""
    return Divergence(threshold).measure(pair, rollouts)


def _means(values: list[np.ndarray]) -> Float[np.ndarray, " text"]:
    return np.array([of_text.mean() for of_text in values])


def _matching_temperature(tokens: list[TokenDivergences]) -> int:
    """Number of the temperature at which the base's mean entropy is nearest to the thinking model's."""
    target = np.mean([of_text.entropy.mean() for of_text in tokens])
    tempered = np.mean([of_text.tempered_entropy.mean(axis=1) for of_text in tokens], axis=0)
    return int(np.argmin(np.abs(tempered - target)))


def _compare(b: Float[Tensor, "token vocab"], t: Float[Tensor, "token vocab"]) -> TokenDivergences:
    t = t.to(b.device)
    tempered = [(b / temperature).log_softmax(-1) for temperature in TEMPERATURES]
    return TokenDivergences(
        js=js(b, t).cpu().numpy(),
        kl=kl(t, b).cpu().numpy(),
        entropy=entropy(t).cpu().numpy(),
        tempered_js=np.stack([js(b, other).cpu().numpy() for other in tempered]),
        tempered_entropy=np.stack([entropy(other).cpu().numpy() for other in tempered]),
    )
