"""attribute: the first-order effect of every feature of sparse coders, and of what the coders leave out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias, final, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.arguments import check_type, describe
from reasonmech.causal.aligned_pairs import align
from reasonmech.causal.coder_set import CoderSet
from reasonmech.causal.contrast import Contrast
from reasonmech.causal.stream_difference import activation_changes
from reasonmech.causal.text_pairs import TextPairs
from reasonmech.coders.coder import SparseCoder
from reasonmech.door import checked
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.metrics import TextMetric, as_text_metric
from reasonmech.ranges import Positive
from reasonmech.runtime.gradients import Gradients, gradients
from reasonmech.runtime.streams import Streams, read_streams
from reasonmech.site import Site

Method: TypeAlias = Literal["gradient", "integrated"]

FEATURE: Final = "feature"
ERROR: Final = "error"
NO_FEATURE: Final = -1  # the error node in `entries`, whose columns are plain numbers
PRODUCTS_AT_ONCE: Final = 2**22  # numbers in gradient x row products


@checked
@final
@dataclass(frozen=True)
class IntegratedGradients:
    """The method "integrated", with another number of steps.

    Attributes:
        steps: midpoints of the straight line from target to source at which the gradient is taken.
    """

    steps: int = 10

    def __post_init__(self) -> None:
        check_type(self.steps, int, name="steps", allowed="a whole number", do="10 is usual")
        if self.steps < 1:
            raise DataError(f"{self.steps} steps", allowed="at least one", do="10 is usual")


@checked
@final
@dataclass(frozen=True, eq=False)
class Attribution:
    """Made by `attribute`. A node is a feature, or the error of its coder.

    Attributes:
        entries: one row per node, text and place whose activation differs between the runs: site, feature (-1
            is the error), text, position (the place's name), effect.
        contrast: what was compared.
        coders: one per site.
        method: "gradient" or "integrated".
        target, source: what the sites hold in the two runs [token, width], texts laid end to end.
    """

    entries: pd.DataFrame
    contrast: Contrast
    coders: CoderSet
    method: Method
    target: Streams
    source: Streams

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per node, strongest first: site, node, feature, effect, metric, unit, direction, method.

        An effect is the mean over texts of the sum over places. Features that no row names do the same in
        both runs: their effect is exactly 0.
        """
        return self._tidy([])

    @cached_property
    def by_position(self) -> pd.DataFrame:
        """The same, for every place by itself; effects of a node add up to its row in `table`."""
        return self._tidy(["position"])

    @cached_property
    def by_text(self) -> pd.DataFrame:
        """The same, for every text by itself."""
        return self._tidy(["text"])

    @cached_property
    def by_site(self) -> pd.DataFrame:
        """One row per site: effects of all features and of the error node, and their sum <g, difference>."""
        sums = self.table.pivot_table(
            index="site", columns="node", values="effect", aggfunc="sum", sort=False
        )
        sums = sums.reindex(columns=[FEATURE, ERROR], fill_value=0.0).rename(columns={FEATURE: "features"})
        return sums.assign(total=sums.sum(axis=1)).rename_axis(columns=None).reset_index()

    def ranking(self, site: Site | str) -> list[int]:
        """Features of one site, largest |effect| first. Raises UnknownNameError, listing the sites."""
        name = str(self.coders.at(site).site)
        rows = self.table[(self.table["site"] == name) & (self.table["node"] == FEATURE)]
        return [int(feature) for feature in rows["feature"]]

    def _tidy(self, by: Sequence[str]) -> pd.DataFrame:
        keys = ["site", "feature", *by]
        sums = self.entries.groupby(keys, sort=False, as_index=False).agg({"effect": "sum"})
        if "text" not in by:
            sums["effect"] /= len(self.contrast.pairs.target)
        sums.insert(1, "node", np.where(sums["feature"] == NO_FEATURE, ERROR, FEATURE))
        sums["feature"] = sums["feature"].astype("Int64").mask(sums["node"] == ERROR)
        metric, direction = self.contrast.metric, self.contrast.pairs.direction
        sums = sums.assign(metric=metric.name, unit=metric.unit, direction=direction, method=self.method)
        return sums.sort_values("effect", key=np.abs, ascending=False, kind="stable", ignore_index=True)

    def __repr__(self) -> str:
        n_features = list(self.table["node"]).count(FEATURE)
        return (
            f"Attribution({n_features} features of {self.coders}, {self.contrast.metric.name}, {self.method})"
        )

    def _repr_html_(self) -> str:
        return self.table.head(20).to_html(index=False, float_format="%.3g")


@checked
def attribute(
    host: Host,
    pairs: TextPairs,
    coders: SparseCoder | Sequence[SparseCoder] | CoderSet,
    *,
    metric: TextMetric,
    method: Method | IntegratedGradients = "gradient",
    batch_rows: Positive = 64,
) -> Attribution:
    """To first order, what patching each feature alone would do to a metric; all of all coders at once.

    The run that is edited (the target) is the corrupt one ("denoise") or the clean one ("noise"). With
    gradient g of the metric at the stream x of a site, activations f and decoder rows w, the effect of
    feature i is `sum over places of <g, w_i> (f_i(source) - f_i(target))`, and that of the error node <g,
    error(source) - error(target)>: together <g, x(source) - x(target)>. Attribution patching (Nanda 2023;
    Syed et al. 2023, arXiv 2310.10348, section 2) of sparse features and error nodes (Marks et al. 2024,
    arXiv 2403.19647, section 2);
    "integrated" averages g over the straight line from target to source (Sundararajan et al. 2017, arXiv
    1703.01365, eq. 1), at the midpoints of its steps where Marks et al. take an end of each: the effects of a
    site then add up to its exact patching effect, up to the number of steps. Costs one pass of the source,
    one forward and one backward pass of the target, and `steps` times the latter per site for "integrated".

    First order says where to look, `audit` how far it can be trusted.

    Args:
        pairs: texts, places that are compared and patched, and direction; the metric is read after the
            target's texts.
        coders: one per site. `CoderSet(coders, transfer=True)` reads coders of another model on purpose.
        metric: such as `rm.logit_diff(...)`, or the name of one that needs no settings.
        method: "gradient", "integrated" (10 steps), or `IntegratedGradients(steps)`.
        batch_rows: rows of one pass; halved, with a warning, where memory is short.

    Raises:
        ArgumentError: a value of the wrong type; the message shows the right one.
        DataError: the metric's gradient is zero where it is measured (a divergence from that very run is
            stationary there), or zero at all places of a site; both runs hold the same at a site; two coders
            of one site; texts that cannot be aligned.
        NonFiniteError: the metric or its gradient is not finite; the text is named.
        UnknownNameError, MismatchError: a coder does not fit the host; no such method.
    """
    name, steps = _method(method)
    aligned = align(host, pairs)
    contrast = Contrast(host, aligned, as_text_metric(host, metric))
    coders = coders if isinstance(coders, CoderSet) else CoderSet(coders)  # type: ignore[arg-type]
    coders.check(host)
    source = read_streams(host, contrast.source_tokens, coders.sites, batch_rows=batch_rows)
    target = gradients(host, contrast.target_tokens, coders.sites, contrast.metric, batch_rows=batch_rows)
    for site in coders.sites:
        contrast.check_differs(site, source[site] - target.stream[site])
        _check_reached(contrast, site, target)
    slopes = target.gradient
    if name == "integrated":
        slopes = {
            site: _integrated(contrast, site, target.stream[site], source[site], steps, batch_rows)
            for site in coders.sites
        }
    frames = [
        _entries(contrast, coder, slopes[coder.site], target.stream[coder.site], source[coder.site])
        for coder in coders
    ]
    return Attribution(pd.concat(frames, ignore_index=True), contrast, coders, name, target.stream, source)


def _method(method: Method | IntegratedGradients) -> tuple[Method, int]:
    """Name of the method, and the number of its steps."""
    if isinstance(method, IntegratedGradients):
        return "integrated", method.steps
    if method not in get_args(Method):
        shown = method if isinstance(method, str) else describe(method)
        raise UnknownNameError(
            "method",
            shown,
            get_args(Method),
            do="rm.causal.IntegratedGradients(steps=50) says how many steps",
        )
    return method, IntegratedGradients().steps


def _check_reached(contrast: Contrast, site: Site, target: Gradients) -> None:
    if not bool(target.gradient[site].any()):
        raise DataError(
            f"metric {contrast.metric.name!r} has gradient zero at {site}, at all {contrast.n_tokens} "
            "compared tokens",
            allowed="tokens that the metric can hear of: at the last block, the last token alone",
            do="name other positions, or an earlier site",
        )


def _integrated(
    contrast: Contrast,
    site: Site,
    target: Float[Tensor, "token width"],
    source: Float[Tensor, "token width"],
    steps: int,
    batch_rows: int,
) -> Float[Tensor, "token width"]:
    """Mean gradient at the midpoints of equal steps from target to source, one site moved at a time."""
    total = torch.zeros_like(target)
    for step in range(steps):
        # midpoints: their error falls with the square of the number of steps, that of the ends only with it
        moved = {site: target + (source - target) * ((step + 0.5) / steps)}
        total += gradients(
            contrast.host,
            contrast.target_tokens,
            [site],
            contrast.metric,
            moved=moved,
            batch_rows=batch_rows,
        ).gradient[site]
    return total / steps


def _entries(
    contrast: Contrast, coder: SparseCoder, slope: Tensor, target: Tensor, source: Tensor
) -> pd.DataFrame:
    """Effect of every node at every token where it differs; the error node has what the features leave."""
    rows = coder.rows(range(coder.d_sae)).detach().to(slope)
    # in float64, because the error node is what remains after many subtractions
    remainder = (slope * (source - target)).double().sum(-1)
    tokens, features, effects = [], [], []
    for batch, change in activation_changes(coder, target, source):
        for token, feature in _chunks(change, rows.shape[1]):
            effect = change[token, feature] * (slope[batch][token] * rows[feature]).sum(-1)
            remainder[batch].index_add_(0, token, -effect.double())
            tokens.append((token + batch.start).cpu())
            features.append(feature.cpu())
            effects.append(effect.cpu())
    of_error = torch.arange(len(remainder))  # every token has an error node, after the features
    token = torch.cat([*tokens, of_error]).numpy()
    places = [(text, place.name) for text, of_text in enumerate(contrast.pairs.places) for place in of_text]
    names = np.array([name for _, name in places], dtype=object)
    return pd.DataFrame(
        {
            "site": str(coder.site),
            "feature": torch.cat([*features, torch.full_like(of_error, NO_FEATURE)]).numpy(),
            "text": np.array([text for text, _ in places])[token],
            "position": names[token],
            "effect": torch.cat([*[effect.double() for effect in effects], remainder.cpu()]).numpy(),
        }
    )


def _chunks(change: Float[Tensor, "token feature"], width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(token, feature) of every activation that differs, as many at once as memory should hold."""
    token, feature = change.nonzero(as_tuple=True)
    size = max(1, PRODUCTS_AT_ONCE // width)
    yield from zip(token.split(size), feature.split(size), strict=True)
