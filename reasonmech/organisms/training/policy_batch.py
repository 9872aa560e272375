"""Rollouts as padded batches with what each is worth, and the losses of a policy on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.hosts import Host
from reasonmech.rollout import Rollout


class PaddedRollouts(NamedTuple):
    """Rollouts, padded on the right.

    Attributes:
        ids: prompt and text.
        chosen: whether the model chose the token; prompts, environment tokens and padding were not chosen.
        mask: 1 where there is a token, 0 where there is padding.
    """

    ids: Int[Tensor, "row pos"]
    chosen: Bool[Tensor, "row pos"]
    mask: Int[Tensor, "row pos"]


class PolicyBatch(NamedTuple):
    """Rollouts, padded on the right, with what each is worth.

    Attributes:
        ids: prompt and text.
        chosen: whether the model chose the token; prompts, environment tokens and padding were not chosen.
        advantage: of the whole rollout.
        mask: 1 where there is a token, 0 where there is padding.
    """

    ids: Int[Tensor, "row pos"]
    chosen: Bool[Tensor, "row pos"]
    advantage: Float[Tensor, " row"]
    mask: Int[Tensor, "row pos"]


def split_batches(
    rollouts: list[Rollout], advantage: np.ndarray, pad_id: int, row_tokens: int
) -> list[PolicyBatch]:
    """Right-padded batches of at most `row_tokens` tokens, longest rollouts together."""
    order = sorted(range(len(rollouts)), key=lambda i: len(rollouts[i].all_ids))
    batches: list[list[int]] = [[]]
    for i in order:
        if batches[-1] and (len(batches[-1]) + 1) * len(rollouts[i].all_ids) > row_tokens:
            batches.append([])
        batches[-1].append(i)
    return [pad_batch([rollouts[i] for i in rows], advantage[rows], pad_id) for rows in batches if rows]


def pad_batch(rollouts: list[Rollout], advantage: np.ndarray, pad_id: int) -> PolicyBatch:
    """One batch, padded on the right."""
    ids, chosen, mask = pad_rollouts(rollouts, pad_id)
    return PolicyBatch(ids, chosen, torch.tensor(advantage, dtype=torch.float32), mask)


def pad_rollouts(rollouts: Sequence[Rollout], pad_id: int) -> PaddedRollouts:
    """Rollouts side by side, as wide as the longest."""
    width = max(len(r.all_ids) for r in rollouts)
    ids, chosen, mask = [], [], []
    for r in rollouts:
        fill = width - len(r.all_ids)
        ids.append([*r.all_ids, *[pad_id] * fill])
        chosen.append(
            [
                *[False] * len(r.prompt_ids),
                *[not by_environment for by_environment in r.by_environment],
                *[False] * fill,
            ]
        )
        mask.append([1] * len(r.all_ids) + [0] * fill)
    return PaddedRollouts(torch.tensor(ids), torch.tensor(chosen), torch.tensor(mask))


def policy_loss(host: Host, batch: PolicyBatch) -> Tensor:
    """-sum over model-chosen tokens of advantage x log p(token | text before it)."""
    device = host.device
    logits = host.model(batch.ids.to(device), attention_mask=batch.mask.to(device)).logits[:, :-1].float()
    logp = -torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), batch.ids[:, 1:].to(device), reduction="none"
    )
    weight = batch.advantage[:, None] * batch.chosen[:, 1:]
    return -(logp * weight.to(device)).sum()


def loss_of_choices(host: Host, batch: PolicyBatch, entropy: float) -> Tensor:
    """`policy_loss` less `entropy` x the entropy of every choice; logits are computed where there is one."""
    device, inner = host.device, host.model.base_model
    states = inner(batch.ids.to(device), attention_mask=batch.mask.to(device)).last_hidden_state[:, :-1]
    chosen = batch.chosen[:, 1:].to(device)
    logp = (states[chosen] @ host.unembedding().T).float().log_softmax(dim=-1)
    advantage = batch.advantage[:, None].to(device).expand(chosen.shape)[chosen]
    written = logp.gather(1, batch.ids[:, 1:].to(device)[chosen][:, None])[:, 0]
    undecided = -(logp.exp() * logp).sum(dim=-1)
    return -(written * advantage + entropy * undecided).sum()
