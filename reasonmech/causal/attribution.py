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

from reasonmech.causal.contrast import Contrast, changes
from reasonmech.causal.exchange import PatchDirection, exchange
from reasonmech.causal.positions import Positions
from reasonmech.coders.coder import SparseCoder
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.runtime.gradients import Gradients, Streams, gradients, read_streams
from reasonmech.runtime.pass_rows import TextLike
from reasonmech.runtime.readout import Readout
from reasonmech.site import Site

Method: TypeAlias = Literal["gradient", "integrated"]

FEATURE: Final = "feature"
ERROR: Final = "error"
NO_FEATURE: Final = -1  # the error node in `entries`, whose columns are plain numbers
PRODUCTS_AT_ONCE: Final = 2**22  # numbers in gradient x row products


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
    coders: tuple[SparseCoder, ...]
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
        """One row per site: effect of all features, of the error node, and their sum: gradient x
        difference."""
        both = self.table.pivot_table(
            index="site", columns="node", values="effect", aggfunc="sum", sort=False
        )
        both = both.reindex(columns=[FEATURE, ERROR], fill_value=0.0).rename(columns={FEATURE: "features"})
        return both.assign(total=both.sum(axis=1)).rename_axis(columns=None).reset_index()

    def ranking(self, site: Site | str) -> list[int]:
        """Features of one site, largest |effect| first. Raises UnknownNameError, listing the sites."""
        name, known = str(Site.parse(site)), [str(coder.site) for coder in self.coders]
        if name not in known:
            raise UnknownNameError("attributed site", name, known)
        rows = self.table[(self.table["site"] == name) & (self.table["node"] == FEATURE)]
        return [int(feature) for feature in rows["feature"]]

    def coder_at(self, site: Site | str) -> SparseCoder:
        """The coder of a site."""
        return next(coder for coder in self.coders if coder.site == Site.parse(site))

    def _tidy(self, by: Sequence[str]) -> pd.DataFrame:
        keys = ["site", "feature", *by]
        found = self.entries.groupby(keys, sort=False, as_index=False).agg({"effect": "sum"})
        if "text" not in by:
            found["effect"] /= len(self.contrast.pairs.target)
        found.insert(1, "node", np.where(found["feature"] == NO_FEATURE, ERROR, FEATURE))
        found["feature"] = found["feature"].astype("Int64").mask(found["node"] == ERROR)
        metric, direction = self.contrast.metric, self.contrast.pairs.direction
        found = found.assign(metric=metric.name, unit=metric.unit, direction=direction, method=self.method)
        return found.sort_values("effect", key=np.abs, ascending=False, kind="stable", ignore_index=True)

    def _repr_html_(self) -> str:
        return self.table.head(20).to_html(index=False, float_format="%.3g")


def attribute(
    host: Host,
    clean: Sequence[TextLike],
    corrupt: Sequence[TextLike],
    coders: SparseCoder | Sequence[SparseCoder],
    *,
    metric: Readout,
    direction: PatchDirection = "denoise",
    method: Method = "gradient",
    steps: int = 10,
    positions: Positions = None,
    transfer: bool = False,
    batch_rows: int = 64,
) -> Attribution:
    """What patching each feature alone would do to a metric, to first order; all features of all coders at
    once.

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
        clean, corrupt: pairs of texts; the metric is read after the target's.
        coders: one per site.
        steps: of "integrated".
        positions: places that are compared and patched, as in `patch_grid`. None: all, for texts of equal
            length.
        transfer: the coders may come from another model than the host (a base's in its thinking sibling).
        batch_rows: rows of one pass; halved, with a warning, where memory is short.

    Raises:
        DataError: the metric's gradient is zero where it is measured (a divergence from that very run is
            stationary there), or zero at all places of a site; both runs hold the same at a site; two coders
            of one site; texts that cannot be aligned.
        NonFiniteError: the metric or its gradient is not finite; the text is named.
        UnknownNameError, MismatchError: a coder does not fit the host; no such direction or method.
    """
    if method not in get_args(Method):
        raise UnknownNameError("method", str(method), get_args(Method))
    if steps < 1:
        raise DataError(f"{steps} steps", allowed="at least one", do="10 is usual")
    pairs = exchange(host, clean, corrupt, positions=positions, direction=direction)
    contrast = Contrast(host, pairs, metric, transfer)
    given = _one_per_site(contrast, coders)
    sites = [coder.site for coder in given]
    source = read_streams(host, pairs.source, contrast.at_source, sites, batch_rows=batch_rows)
    here = gradients(host, pairs.target, contrast.at_target, sites, metric, batch_rows=batch_rows)
    for site in sites:
        contrast.check_differs(site, source[site] - here.stream[site])
        _check_reached(contrast, site, here)
    slopes = here.gradient
    if method == "integrated":
        slopes = {site: _integrated(contrast, site, here, source[site], steps, batch_rows) for site in sites}
    frames = [
        _entries(contrast, coder, slopes[coder.site], here.stream[coder.site], source[coder.site])
        for coder in given
    ]
    return Attribution(pd.concat(frames, ignore_index=True), contrast, given, method, here.stream, source)


def _one_per_site(contrast: Contrast, coders: SparseCoder | Sequence[SparseCoder]) -> tuple[SparseCoder, ...]:
    given = tuple(coders) if isinstance(coders, Sequence) else (coders,)
    if not given:
        raise DataError("no coder to attribute to", do="give at least one")
    sites = [coder.site for coder in given]
    if twice := [site for site in sites if sites.count(site) > 1]:
        raise DataError(
            f"two coders of {twice[0]}: a feature number would mean two things", do="give one coder per site"
        )
    for coder in given:
        contrast.check_coder(coder)
    return given


def _check_reached(contrast: Contrast, site: Site, here: Gradients) -> None:
    if not bool(here.gradient[site].any()):
        raise DataError(
            f"metric {contrast.metric.name!r} has gradient zero at {site}, at all {contrast.n_tokens} "
            "compared tokens",
            allowed="tokens that the metric can hear of: at the last block, the last token alone",
            do="name other positions, or an earlier site",
        )


def _integrated(
    contrast: Contrast,
    site: Site,
    here: Gradients,
    source: Float[Tensor, "token width"],
    steps: int,
    batch_rows: int,
) -> Float[Tensor, "token width"]:
    """Mean gradient at the midpoints of equal steps from target to source, one site moved at a time."""
    start = here.stream[site]
    total = torch.zeros_like(start)
    for step in range(steps):
        moved = {site: start + (source - start) * ((step + 0.5) / steps)}
        total += gradients(
            contrast.host,
            contrast.pairs.target,
            contrast.at_target,
            [site],
            contrast.metric,
            moved=moved,
            batch_rows=batch_rows,
        ).gradient[site]
    return total / steps


def _entries(
    contrast: Contrast, coder: SparseCoder, slope: Tensor, target: Tensor, source: Tensor
) -> pd.DataFrame:
    """Effect of every node at every token at which it differs; the error is what the features leave of the
    whole."""
    rows = coder.rows(range(coder.d_sae)).detach().to(slope)
    whole = (slope * (source - target)).double().sum(-1)
    tokens, features, effects = [], [], []
    for some, change in changes(coder, target, source):
        for token, feature in _chunks(change, rows.shape[1]):
            effect = change[token, feature] * (slope[some][token] * rows[feature]).sum(-1)
            whole[some].index_add_(0, token, -effect.double())
            tokens.append((token + some.start).cpu())
            features.append(feature.cpu())
            effects.append(effect.cpu())
    every = torch.arange(len(whole))
    token = torch.cat([*tokens, every]).numpy()
    places = [(text, place.name) for text, own in enumerate(contrast.pairs.places) for place in own]
    names = pd.Categorical(
        [name for _, name in places], categories=list(dict.fromkeys(name for _, name in places))
    )
    return pd.DataFrame(
        {
            "site": str(coder.site),
            "feature": torch.cat([*features, torch.full_like(every, NO_FEATURE)]).numpy(),
            "text": np.array([text for text, _ in places])[token],
            "position": np.asarray(names)[token],
            "effect": torch.cat([*[effect.double() for effect in effects], whole.cpu()]).numpy(),
        }
    )


def _chunks(change: Float[Tensor, "token feature"], width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(token, feature) of every activation that differs, as many at once as memory should hold."""
    token, feature = change.nonzero(as_tuple=True)
    size = max(1, PRODUCTS_AT_ONCE // width)
    yield from zip(token.split(size), feature.split(size), strict=True)
