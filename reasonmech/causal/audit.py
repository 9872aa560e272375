"""audit: exact patches of the strongest features of an attribution, and of a random sample of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from reasonmech.arguments import check_type
from reasonmech.causal.attribution import ERROR, FEATURE, Attribution
from reasonmech.causal.stream_difference import StreamDifference
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.interventions.axes import Features
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.verbs import patch
from reasonmech.ranges import Seed
from reasonmech.runtime.batched.cells import Cell, CellGrid, run_cells
from reasonmech.stats import DRAWS, LEVEL, Interval
from reasonmech.stats.bounded import reweight

TOP: Final = "top"
SAMPLE: Final = "sample"
MIN_RANKED: Final = 3  # fewer nodes have no rank correlation
COLUMNS: Final = (
    *("site", "node", "feature", "group", "estimate", "exact", "metric", "unit", "direction", "n_masked"),
)


@final
@dataclass(frozen=True, eq=False)
class Audit:
    """How far an attribution can be trusted.

    Attributes:
        table: one row per audited node: site, node, feature, group ("top", "sample" or "error"), estimate
            (what the attribution says), exact (mean effect over texts of patching it), metric, unit,
            direction, n_masked (tokens patched).
        rank_correlation: Spearman's, of estimate and exact over all audited features; NaN for fewer than
            three.
        top_correlation: the same over the top alone, which a few large effects cannot carry.
        n_rest: features that differ between the runs and are not among the top; the sample was drawn from
            them.
        missed: sum of |exact effect| over the rest, estimated from the sample, with its lower 97.5 % bound.
            There is no upper one (infinite) unless all of the rest was patched: a sample of 20 from 500
            features meets none of three large ones in 88 of 100 draws, and nothing in it then says that
            they are there.
        n_may_be_stronger: upper 95 % bound of how many of the rest have a larger |exact effect| than any that
            was sampled (hypergeometric); 0 where all of it was patched.
        top_effect: sum of |exact effect| over the top.
    """

    table: pd.DataFrame
    rank_correlation: float
    top_correlation: float
    n_rest: int
    missed: Interval
    n_may_be_stronger: int
    top_effect: float

    @property
    def missed_share(self) -> float:
        """missed / (missed + top_effect): share of the summed |effect| that lies outside the top."""
        total = self.missed.estimate + self.top_effect
        return self.missed.estimate / total if total > 0 else float("nan")

    def __repr__(self) -> str:
        return f"Audit({self})"

    def __str__(self) -> str:
        n = list(self.table["node"]).count(FEATURE)
        return (
            f"Spearman {self.rank_correlation:.2f} over {n} features ({self.top_correlation:.2f} over the top"
            f" alone); an estimated {self.missed_share:.1%} of the summed |effect| lies in the {self.n_rest} "
            f"other features, up to {self.n_may_be_stronger} of which may be stronger than any sampled one"
        )

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>{self.table.to_html(index=False, float_format='%.3g')}"


@checked
def audit(
    attribution: Attribution,
    *,
    top: int = 20,
    sample: int = 20,
    seed: Seed = 0,
    batch_rows: int = 128,
    progress: bool = False,
) -> Audit:
    """Patch single features exactly and compare with what the attribution said of them.

    The `top` features by |estimate|, `sample` drawn at random from all others that differ between the runs,
    and the error node of every site. A node's exact effect is metric(target with this node as in the source)
    - metric(target), averaged over texts: the quantity that attribution approximates. (Kramár et al. 2024,
    arXiv 2403.00745, bound from random subsets how large an effect may have been missed; here the sum of what
    was missed is estimated, and the number of features bounded that may be stronger than any sampled one.)

    Args:
        top, sample: numbers of features; where there are fewer, all of them.
        seed: of the sample.
        batch_rows: rows of one pass; halved, with a warning, where memory is short.

    Raises:
        DataError: nothing to audit. NonFiniteError: NaN or infinity came out of a patch.
    """
    check_type(
        attribution,
        Attribution,
        name="attribution",
        allowed="what rm.attribute returns",
        do="rm.causal.audit(rm.attribute(host, pairs, coder, metric=metric))",
    )
    if top < 1 or sample < 0:
        raise DataError(
            f"an audit of the top {top} features and a sample of {sample}", allowed="top >= 1, sample >= 0"
        )
    audited, n_rest = _audited(attribution, top, sample, seed)
    patches = _patches(attribution, audited)
    contrast = attribution.contrast
    texts = range(len(contrast.pairs.target))
    cells = [Cell(text, (one,)) for one in patches for text in texts]
    results = run_cells(
        contrast.host,
        CellGrid(contrast.pairs.target, cells),
        contrast.metric,
        batch_rows=batch_rows,
        progress=progress,
        desc="audit",
    )
    value = results.value.double().numpy().reshape(len(patches), len(texts))
    exact = (value[1:] - value[0]).mean(1)
    n_masked = results.n_masked.numpy().reshape(len(patches), len(texts)).sum(1)[1:]
    table = audited.assign(exact=exact, n_masked=n_masked).loc[:, list(COLUMNS)]
    estimate, group = table["estimate"].to_numpy(np.float64), table["group"].to_numpy(dtype=str)
    return Audit(
        table=table,
        rank_correlation=_spearman(estimate[group != ERROR], exact[group != ERROR]),
        top_correlation=_spearman(estimate[group == TOP], exact[group == TOP]),
        n_rest=n_rest,
        missed=_missed(np.abs(exact[group == SAMPLE]), n_rest, seed),
        n_may_be_stronger=_count_unseen(int((group == SAMPLE).sum()), n_rest),
        top_effect=float(np.abs(exact[group == TOP]).sum()),
    )


def _audited(attribution: Attribution, top: int, sample: int, seed: int) -> tuple[pd.DataFrame, int]:
    """Rows of the attribution's table to audit, with their group; how many features are not in the top."""
    table = attribution.table.rename(columns={"effect": "estimate"})
    features = table[table["node"] == FEATURE]
    if features.empty:
        raise DataError(
            "no feature differs between the two runs", do="look at the error nodes: attribution.by_site"
        )
    rest = features.iloc[top:]
    picked = np.random.default_rng(seed).choice(len(rest), min(sample, len(rest)), replace=False)
    groups = [
        features.iloc[:top].assign(group=TOP),
        rest.iloc[np.sort(picked)].assign(group=SAMPLE),
        table[table["node"] == ERROR].assign(group=ERROR),
    ]
    return pd.concat([group for group in groups if len(group)], ignore_index=True), len(rest)


def _patches(attribution: Attribution, audited: pd.DataFrame) -> list[Intervention]:
    """The patch that changes nothing, then one per row; patches of one site share their source."""
    contrast, coders = attribution.contrast, attribution.coders
    first = coders.sites[0]
    # the unpatched run is a patch too, so that both go through the same kernels and differ by the patch alone
    patches = [contrast.put(first, attribution.target[first])]
    sources = {str(site): contrast.by_row(attribution.source[site]) for site in coders.sites}
    for site, feature in zip(audited["site"], audited["feature"], strict=True):
        coder = coders.at(site)
        if pd.isna(feature):
            target = attribution.target[coder.site]
            difference = StreamDifference(coder, target, attribution.source[coder.site], ())
            patches.append(contrast.put(coder.site, target + difference.of_error))
        else:
            axis = Features(coder, (int(feature),), transfer=coders.transfer)
            patches.append(patch(axis, sources[site], where=contrast.where))
    return patches


def _spearman(estimate: np.ndarray, exact: np.ndarray) -> float:
    if len(estimate) < MIN_RANKED or len(set(estimate)) < 2 or len(set(exact)) < 2:
        return float("nan")
    ranks = [scipy_stats.rankdata(values) for values in (estimate, exact)]
    return float(np.corrcoef(ranks)[0, 1])


def _missed(sampled: np.ndarray, n_rest: int, seed: int) -> Interval:
    """Sum over the rest, from the |effects| of a sample of it, which are 0 at least and unbounded above."""
    if n_rest == 0:
        return Interval(0.0, 0.0, 0.0)
    if len(sampled) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    total = float(sampled.sum())
    if len(sampled) == n_rest:
        return Interval(total, total, total)
    means = reweight(sampled[:, None], draws=DRAWS, seed=seed).sums[:, 0]  # one unseen feature more, of 0
    low = n_rest * float(np.quantile(means, (1 - LEVEL) / 2, method="lower"))
    return Interval(n_rest * total / len(sampled), max(low, total), float("inf"))


def _count_unseen(n_sampled: int, n_rest: int) -> int:
    """The most features that a random sample of the rest misses altogether in more than 5 % of draws."""
    if n_sampled == n_rest:  # scipy has no draw from nothing
        return 0
    most = np.arange(n_rest - n_sampled + 1)
    is_missed = scipy_stats.hypergeom.pmf(0, n_rest, most, n_sampled) > 1 - LEVEL
    return int(most[is_missed].max())
