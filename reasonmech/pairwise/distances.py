"""Distances between next-token distributions, of log-probabilities: Jensen-Shannon, KL; and entropy."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def js(p: Float[Tensor, "*row vocab"], q: Float[Tensor, "*row vocab"]) -> Float[Tensor, "*row"]:
    """Jensen-Shannon divergence [nats, at most ln 2]: (KL(p || m) + KL(q || m)) / 2, m = (p + q) / 2."""
    middle = torch.logaddexp(p, q) - math.log(2)
    return ((kl(p, middle) + kl(q, middle)) / 2).clamp_min(0)


def kl(p: Float[Tensor, "*row vocab"], q: Float[Tensor, "*row vocab"]) -> Float[Tensor, "*row"]:
    """KL(p || q) [nats]; what p never says counts nothing."""
    terms = p.exp() * (p - q)
    return torch.where(p.isneginf(), 0.0, terms).sum(-1)  # 0 * log 0 is 0


def entropy(p: Float[Tensor, "*row vocab"]) -> Float[Tensor, "*row"]:
    """Entropy [nats]."""
    return -torch.where(p.isneginf(), 0.0, p.exp() * p).sum(-1)
