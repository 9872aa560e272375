"""What to put in place of what is ablated: the mean over some tokens, or activations of other texts."""

from __future__ import annotations

import warnings
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.interventions.axes import Axis
from reasonmech.ranges import Positive, Seed
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.row_index import whole_numbers
from reasonmech.runtime.activations.site_sinks import sinks_at, sinks_of
from reasonmech.site import Site

CHUNK: Final = 8192  # tokens read at once


@torch.no_grad()
@checked
def mean_of(
    acts: Activations,
    axis: Axis,
    *,
    tokens: Int[Tensor, " n"] | None = None,
    include_sinks: bool = False,
) -> Float[Tensor, " coord"]:
    """Mean coordinates of an axis over captured tokens: `ablate(axis, value=mean_of(acts, axis))` is mean
    ablation.

    Attention sinks (`find_sinks`) are left out, and a warning says how many: with them the mean stream of a
    language model is that of its first tokens, and ablation would write one into every token.

    Args:
        tokens: rows of `acts.index` to average over. None: all.
        include_sinks: average over sinks, too.

    Returns:
        One number per coordinate, in the axis' units; of a `Whole`, the mean stream.

    Raises:
        UnknownNameError: the axis' site was not captured. DataError: no token, or sinks only.
    """
    check_type(acts, Activations, name="acts", allowed="the Activations that rm.capture returns")
    check_type(axis, Axis, name="axis", allowed="an axis: rm.Whole(site), a Direction, Features, ...")
    rows = torch.arange(len(acts)) if tokens is None else whole_numbers(tokens, name="tokens")
    if len(rows) == 0:
        raise DataError("a mean over no token", do="choose at least one row of acts.index")
    if not include_sinks:
        rows = _without_sinks(acts, axis.at, rows)
    # in double: float32 sums over millions of tokens lose digits
    sums = [axis.read(acts.take(axis.at, chunk).float()).double().sum(0) for chunk in rows.split(CHUNK)]
    return (torch.stack(sums).sum(0) / len(rows)).float()


def _without_sinks(acts: Activations, site: Site, rows: Tensor) -> Tensor:
    """The rows that are no attention sinks, with a warning where some are."""
    sinks = sinks_of(acts, site)
    which = sinks_at(acts, site, sinks, tokens=rows)
    n = int(which.sum())
    if n == len(rows):
        raise DataError(
            f"all {n} tokens of this mean are attention sinks at {site}",
            do="choose other rows of acts.index, or pass include_sinks=True",
        )
    if n:
        warnings.warn(
            f"the mean at {site} leaves out {n} of {len(rows)} tokens: among those captured, {sinks}. "
            "include_sinks=True takes them in",
            stacklevel=4,  # whoever called mean_of, past torch's decorator
        )
    return rows[~which] if n else rows


@checked
def resampled(
    acts: Activations, site: Site | str, *, seed: Seed, n_positions: Positive | None = None
) -> Float[Tensor, "row pos width"]:
    """A source for `patch` in which every row holds another text: `patch(axis, resampled(...))` is resample
    ablation.

    Row r of the source stands for rollout r of `acts`, so capture the texts of the run, in their order. It
    holds, at each position, what the site held at that position of another problem's text, drawn evenly;
    where that one ends, of the next one drawn, and so on (Chan et al. 2022, causal scrubbing, resample single
    texts of equal length).

    Args:
        seed: of the draw.
        n_positions: how many positions. None: as many as two problems have; `patch` refuses to read beyond.

    Raises:
        UnknownNameError: the site was not captured.
        DataError: fewer than two problems have that many positions, or texts were captured with gaps.
    """
    if not acts.contiguous:
        raise DataError("some tokens of these texts were not captured", do="capture every token of them")
    lengths = torch.bincount(torch.as_tensor(acts.index["rollout"].to_numpy(copy=True)).long())
    starts = lengths.cumsum(0) - lengths
    problems = [str(name) for name in acts.index["problem"].to_numpy()[starts.numpy()]]
    longest = {
        name: max(int(n) for n, problem in zip(lengths, problems, strict=True) if problem == name)
        for name in problems
    }
    # The second longest problem: rows of the longest need a donor at every position, too.
    n_shared = sorted(longest.values())[-2] if len(longest) > 1 else 0
    width = n_shared if n_positions is None else n_positions
    if not 0 < width <= n_shared:
        raise DataError(
            f"{width} positions from {len(longest)} problems, of which two have {n_shared}",
            allowed=f"1 .. {n_shared} positions" if n_shared else "activations of at least two problems",
            do="capture more texts, or longer ones",
        )
    random = torch.Generator().manual_seed(seed)
    position = torch.arange(width)
    donors = []
    for name in problems:
        others = torch.tensor([i for i, problem in enumerate(problems) if problem != name])
        order = others[torch.randperm(len(others), generator=random)]
        reaches = lengths[order][:, None] > position
        assert bool(reaches.any(0).all()), "two problems have every position"
        donors.append(order[reaches.int().argmax(0)])  # argmax: the first in the drawn order that reaches
    tokens = starts[torch.stack(donors)] + position
    return acts.take(site, tokens.flatten()).reshape(len(problems), width, -1)
