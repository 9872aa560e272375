"""Where a model's free run is what its splice with itself would write, and need not be written twice."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.kinds import opening_categories
from reasonmech.organisms.ground_truth.splice import SplicedDecoder
from reasonmech.rollout import OTHER, Rollouts


def written_alike(decoder: SplicedDecoder, free: Rollouts, *, temperature: float) -> Bool[np.ndarray, " row"]:
    """Rows of a model's free run that its splice with itself writes token by token.

    The splice differs from the free run at boundaries alone, where it chooses among the tokens that begin a
    kind. A row whose every boundary chose one of these, with the same noise, is its own splice: the
    likeliest token of all is the likeliest of some. Where a kind has several first tokens its choice is over
    their sum, and no row is taken to be alike.
    """
    categories = opening_categories(decoder.kinds, decoder.rows)
    opens = categories != decoder.kinds.names.index(OTHER)
    if categories[opens].unique().numel() < int(opens.sum()):
        return np.zeros(len(free), dtype=bool)
    ids, length, chosen = _padded(free)
    tracker, alike = decoder.kinds.track(len(free)), torch.ones(len(free), dtype=torch.bool)
    for offset in range(ids.shape[1]):
        alive = offset < length
        opened = opens[ids[:, offset].clamp(max=decoder.rows - 1)] & (ids[:, offset] < decoder.rows)
        alike &= ~(tracker.boundary & alive) | (opened & chosen[:, offset])
        tracker.advance(ids[:, offset])
    return alike.numpy()


def _padded(
    rollouts: Rollouts,
) -> tuple[Int[Tensor, "row token"], Int[Tensor, " row"], Bool[Tensor, "row token"]]:
    """Tokens side by side, how many each row has, and which of them its model chose."""
    length = torch.tensor([len(rollout.ids) for rollout in rollouts])
    ids = torch.zeros(len(rollouts), int(length.max()), dtype=torch.long)
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    for row, rollout in enumerate(rollouts):
        ids[row, : len(rollout.ids)] = torch.tensor(rollout.ids)
        chosen[row, : len(rollout.ids)] = ~torch.tensor(rollout.by_environment)
    return ids, length, chosen
