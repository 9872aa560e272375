"""Side effects: what steering does to texts beside their answers, and to text that asks for none of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hybrid.executors import SecondChoice, Takeover
from reasonmech.hybrid.guarded import Guarded
from reasonmech.hybrid.log import ControllerLog, steered_offsets
from reasonmech.hybrid.matching import NeutralTexts
from reasonmech.hybrid.parts import Executor
from reasonmech.pairwise.log_probs import mean_surprises
from reasonmech.ranges import Positive
from reasonmech.rollout import Rollout, Rollouts

GRAM: Final = 4


class SideEffects(NamedTuple):
    """Of the texts of one arm.

    Attributes:
        length: tokens per text.
        repetition: share of a text's 4-grams of tokens that stood in it before, mean over texts.
        ended: share of texts that end by themselves.
        surprise: -log p of the tokens that models chose under the unsteered base, in its own prompt, at
            temperature 1 [nats per token, mean over texts]: the log of the texts' perplexity.
        dose: KL(steered || base) of the next token, summed over the steered tokens of a text and divided by
            the tokens that models chose [nats per token]: at the length that was really written.
        dose_steered: the same per steered token [nats]; NaN where none is.
    """

    length: float
    repetition: float
    ended: float
    surprise: float
    dose: float
    dose_steered: float


@checked
@torch.no_grad()
def side_effects(
    base: Host, rollouts: Rollouts, log: ControllerLog | None = None, *, read: Positive | None = None
) -> SideEffects:
    """What an arm's texts are like, whatever their answers.

    Args:
        base: the unsteered model.
        log: of the arm's controller; None where it has none.
        read: texts whose surprise is measured, the first ones; None: all.

    Raises:
        DataError: no text, or one longer than the base has positions.
    """
    if not len(rollouts):
        raise DataError("no text to look at", do="give what the arm wrote")
    nats = [_nats(rollout, log) for rollout in rollouts]
    steered = [value for of_text in nats for value in of_text]
    chosen = sum(rollout.n_chosen for rollout in rollouts)
    return SideEffects(
        float(np.mean([len(rollout.ids) for rollout in rollouts])),
        float(np.mean([repetition(rollout.ids) for rollout in rollouts])),
        float(np.mean([rollout.stop == "eos" for rollout in rollouts])),
        float(np.mean(list(mean_surprises(base, Rollouts([r for r in rollouts if r.n_chosen][:read]))))),
        float(sum(steered)) / max(chosen, 1),
        float(np.mean(steered)) if steered else float("nan"),
    )


def repetition(ids: Sequence[int]) -> float:
    """Share of the 4-grams of a text that stood in it before; 0 of a text without one."""
    grams = [tuple(ids[i : i + GRAM]) for i in range(len(ids) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _nats(rollout: Rollout, log: ControllerLog | None) -> list[float]:
    """How far each steered token was moved."""
    if log is None or not log.choices:
        return []
    return [log.at(rollout, offset).kl for offset in steered_offsets(rollout)]


@checked
def damage(executor: Executor, texts: NeutralTexts, categories: Positive) -> float:
    """Mean KL(steered || unsteered) of the next token on neutral text [nats], over the categories that an
    executor covers: what it does where nothing asks for it. NaN where tokens are handed over or barred: that
    is no strength of steering.

    Args:
        categories: how many the executor has.
    """
    if isinstance(executor, Takeover | SecondChoice):
        return float("nan")
    if isinstance(executor, Guarded):  # its guard would take what the base likes best: at its strongest
        executor = executor.strongest
    nats = texts.kl_of_executor(executor, categories)
    return float(nats[~nats.isnan()].mean())
