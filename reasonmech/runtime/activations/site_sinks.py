"""Sinks of a site among captured tokens: found once, from norms and positions."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool
from torch import Tensor

from reasonmech.coders import Sinks, find_sinks
from reasonmech.runtime.activations.activations import Activations
from reasonmech.site import Site

SAMPLE: Final = 2**17  # tokens from which sinks are told; of more, so many at random
CHUNK: Final = 8192  # tokens read at once


def sinks_of(acts: Activations, site: Site | str) -> Sinks:
    """Which captured tokens are attention sinks at a site: see `find_sinks`.

    Raises:
        UnknownNameError: the site was not captured. MismatchError: features were kept, not the stream.
    """
    n = len(acts)
    rows = torch.arange(n)
    if n > SAMPLE:
        rows = torch.randint(n, (SAMPLE,), generator=torch.Generator().manual_seed(0)).sort().values
    return find_sinks(lambda chosen: acts.take(site, rows[chosen]), len(rows), acts.positions(rows))


def sinks_at(
    acts: Activations, site: Site | str, sinks: Sinks, *, tokens: Tensor | None = None
) -> Bool[Tensor, " token"]:
    """Which tokens (rows of `acts.index`; None: all) are sinks at a site."""
    rows = torch.arange(len(acts)) if tokens is None else torch.as_tensor(tokens)
    if not sinks.n_sinks:
        return torch.zeros(len(rows), dtype=torch.bool)
    norms = [acts.take(site, chunk).float().norm(dim=-1) for chunk in rows.split(CHUNK)]
    return sinks.mask(torch.cat(norms), acts.positions(rows))
