"""Recompute one position of a text under an edit, against the clean keys and values of everything before it.

This is what steering a single position *is* when its keys and values are not kept: training a vector and
decoding with it go through this one function, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import of_this_thread, run_alone
from reasonmech.runtime.served import NO_LAYER, BlockOutput, forgetful, last_unread, past_above, served
from reasonmech.shapes import NextLogits
from reasonmech.site import Site

Edit = Callable[[Float[Tensor, "batch d_model"]], Float[Tensor, "batch d_model"]]


class CleanPast(NamedTuple):
    """One position per row and the clean past that it sees.

    Attributes:
        cache: clean keys and values [row, head, past, d_head] of every layer; may hold more than `visible`
            shows.
        visible: 1 where the position may look, per cache entry. The position itself is not among them.
        tokens, positions: the token at the position, and its absolute, pad-free number.
        known: what a block returned at the position; it and those below need not run again.
    """

    cache: DynamicCache
    visible: Int[Tensor, "batch past"]
    tokens: Int[Tensor, " batch"]
    positions: Int[Tensor, " batch"]
    known: BlockOutput | None = None

    def select(self, rows: Int[Tensor, " row"], *, site: Site | None = None) -> CleanPast:
        """The same for some rows, in any order, repeated or not; tensors are copied, never shared.

        Args:
            site: the only one at which they are to be edited or read: what is known below it is handed on,
                and nothing else. None: any site.
        """
        known = None
        if self.known is not None and site is not None and self.known.layer <= last_unread(site):
            known = self.known.select(rows)
        below, length = (NO_LAYER, 0) if known is None else (known.layer, self.visible.shape[1])
        cache = past_above(self.cache, below, length, lambda x: x[rows])
        return CleanPast(cache, self.visible[rows], self.tokens[rows], self.positions[rows], known)


def select_rows(cache: DynamicCache, rows: Int[Tensor, " row"]) -> DynamicCache:
    """A new cache with some rows of another, in any order, repeated or not; tensors are copied."""
    return past_above(cache, NO_LAYER, 0, lambda x: x[rows])


def rerun(
    host: Host, past: CleanPast, site: Site | str, edit: Edit, *, known: BlockOutput | None = None
) -> NextLogits:
    """Next-token logits of every row when `edit` is applied to the residual stream of its position at `site`.

    The pass appends to `past.cache`: give a `select`-ed copy. Differentiable with respect to what `edit`
    uses.

    Args:
        known: in place of `past.known`, what a block below the site returned at the positions [batch, 1,
            d_model]; blocks up to it are not run, and of theirs the cache holds the length alone
            (`past_above`).

    Raises:
        BindError: the host's attention forgets (sliding window), so a clean past cannot be put before a
            position.
    """
    n_past = past.visible.shape[1]
    for layer in past.cache.layers:
        if not isinstance(layer, DynamicLayer) or layer.keys is None or layer.keys.shape[-2] != n_past:
            raise forgetful(
                f"the cache of {host.name!r} does not hold all {n_past} past positions", ", or a shorter text"
            )

    def run() -> NextLogits:
        with served(host, past.known if known is None else known):
            return _next_logits(host, past)

    handle = host.hook_point(site).attach(of_this_thread(lambda x: edit(x[:, 0])[:, None]))
    try:
        return run_alone(host, run)
    finally:
        handle.remove()


def stream_at(host: Host, past: CleanPast, site: Site | str) -> Float[Tensor, "batch d_model"]:
    """The unedited residual stream of every row's position at `site`, as `rerun` reads the position again."""
    read: list[Tensor] = []

    def keep(x: Float[Tensor, "batch d_model"]) -> Float[Tensor, "batch d_model"]:
        read.append(x)
        return x

    rerun(host, past, site, keep)
    return read[0]


def _next_logits(host: Host, past: CleanPast) -> NextLogits:
    return host.model(
        input_ids=past.tokens[:, None],
        attention_mask=torch.cat([past.visible, torch.ones_like(past.visible[:, :1])], dim=1),
        position_ids=past.positions[:, None],
        past_key_values=past.cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
