"""Steering as it was published: all positions of a text steered in one pass, whose keys and values the later
ones read."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

from reasonmech.hosts import Host
from reasonmech.hosts.turn import of_this_thread, run_alone
from reasonmech.runtime.rerun import Edit
from reasonmech.shapes import NextLogits
from reasonmech.site import Site


def leaking_logits(
    host: Host,
    site: Site,
    ids: Int[Tensor, "batch pos"],
    at: tuple[Int[Tensor, " row"], Int[Tensor, " row"]],
    edit: Edit,
) -> NextLogits:
    """Next-token logits at positions of texts, when an edit acts at all of them in one pass.

    A steered position's keys and values are seen by every later one, which decoding does not do: this is for
    comparison with the published training (arXiv 2510.07364), and differs from `rerun` wherever a text is
    steered twice. Differentiable with respect to what `edit` uses.

    Args:
        ids: texts, padded on the right.
        at: row and position of each.
    """
    row, position = (index.to(host.device) for index in at)
    streams: list[Tensor] = []

    def steer(x: Tensor) -> Tensor:
        return x.index_put((row, position), edit(x[row, position]))

    handles = [
        host.hook_point(site).attach(of_this_thread(steer)),
        host.hook_point(f"resid_post.{host.n_layers - 1}").attach(of_this_thread(streams.append)),
    ]
    try:
        run_alone(host, lambda: host.model(input_ids=ids, use_cache=False, logits_to_keep=1))
    finally:
        for handle in handles:
            handle.remove()
    return host.logits_of(streams[0][row, position])
