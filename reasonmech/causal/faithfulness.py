"""faithfulness: the share of a site's patching effect that groups of features carry, and what is left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple, final

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from reasonmech.causal.aligned_pairs import align
from reasonmech.causal.contrast import Contrast
from reasonmech.causal.feature_groups import CONTROL, GROUP, CurvePoint, FeatureGroups, GroupPatch, as_groups
from reasonmech.causal.means import mean_by
from reasonmech.causal.stream_difference import StreamDifference
from reasonmech.causal.text_pairs import TextPairs
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.files import save_table
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Features
from reasonmech.interventions.edits import Patch
from reasonmech.interventions.intervention import Intervention
from reasonmech.metrics import TextMetric, as_text_metric
from reasonmech.ranges import Positive
from reasonmech.runtime.batched.cells import Cell, CellGrid, run_cells
from reasonmech.runtime.streams import read_streams
from reasonmech.site import Site

CURVE: Final = ("group", "control", "n", "error", "patched", "metric", "unit", "direction")
BYTES_AT_ONCE: Final = 2**28  # of the sources of patches that are in memory together


@final
@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Made by `faithfulness`.

    Attributes:
        table: one row per group, number of features, error treatment, patched side and text: group, control,
            n (features), error, patched ("group": faithfulness, "rest": completeness), text, problem, value,
            effect (value - the target's), full (the effect of patching the whole site), metric, unit,
            direction.
    """

    table: pd.DataFrame

    @cached_property
    def curve(self) -> pd.DataFrame:
        """One row per group, number of features, error treatment and patched side: means over problems.

        value, effect, full, and share = mean effect / mean full, each with its 95 % interval (x_low, x_high;
        see `means.mean_by`): infinite where the interval of full covers 0.
        """
        return mean_by(
            self.table, CURVE, columns=("value", "effect", "full"), ratios={"share": ("effect", "full")}
        )

    @checked
    def to_parquet(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the table to a new file. Raises OutputError where there is one, unless it is to go."""
        save_table(self.table, path, overwrite=overwrite)

    def __repr__(self) -> str:
        return f"Faithfulness({self.table['group'].nunique()} groups x {self.table['text'].nunique()} texts)"

    def _repr_html_(self) -> str:
        return self.curve.to_html(index=False, float_format="%.3g")


class _Ends(NamedTuple):
    """The metric after every text where nothing is patched, and where the whole site is."""

    target: Float[np.ndarray, " text"]
    full: Float[np.ndarray, " text"]


@checked
def faithfulness(
    host: Host,
    pairs: TextPairs,
    groups: FeatureGroups | Features,
    *,
    metric: TextMetric,
    batch_rows: Positive = 128,
    progress: bool = False,
) -> Faithfulness:
    """How much of what patching a whole site does, patching the first n features of a group does.

    With m(S) the metric when the features S of the target are set to what they are in the source, share(S) =
    (m(S) - m(target)) / (m(whole site patched) - m(target)), signed and not clipped. Patching the group is
    its *faithfulness* (1: it carries the effect), patching all other features its *completeness* (0: nothing
    is left without it); Marks et al. 2024 (arXiv 2403.19647, section 3.2) with activations of the other run
    where they take means. The difference between texts is written exactly, at every compared token at once.

    Args:
        pairs: texts, places that are compared and patched, and direction; the metric is read after the
            target's texts.
        groups: features of one coder: one group as `rm.Features(coder, indices)`, or `FeatureGroups`, which
            names several and says at which sizes, and what becomes of the coder's error.
        metric: such as `rm.logit_diff(...)`, or the name of one that needs no settings.
        batch_rows: rows of one pass; halved, with a warning, where memory is short.

    Raises:
        ArgumentError: a value of the wrong type; the message shows the right one.
        DataError: patching the whole site does nothing, or texts that cannot be aligned.
        MismatchError, UnknownNameError: the coder does not fit the host.
        NonFiniteError: NaN or infinity came out of a patch.
    """
    aligned = align(host, pairs)
    contrast = Contrast(host, aligned, as_text_metric(host, metric))
    groups = as_groups(groups)
    groups.check(host)
    coder, site = groups.coder, groups.coder.site
    target, source = (
        read_streams(host, tokens, [site], batch_rows=batch_rows)[site]
        for tokens in (contrast.target_tokens, contrast.source_tokens)
    )
    contrast.check_differs(site, source - target)
    difference = StreamDifference(coder, target, source, groups.features)
    points = groups.points()
    patches = list(dict.fromkeys(point.patch for point in points))
    streams = chain((target, source), (_stream(difference, one) for one in patches))
    # the unpatched run is a patch as well, so that no effect holds a difference between two ways to compute
    at_target, full, *values = _values(contrast, site, streams, batch_rows, progress)
    if not (full != at_target).any():
        raise DataError(
            f"patching the whole of {site} leaves metric {contrast.metric.name!r} as it is: there is no "
            "effect to share",
            allowed="a site and places whose patch changes the metric",
            do="look for them with patch_grid",
        )
    value = dict(zip(patches, values, strict=True))
    ends = _Ends(at_target, full)
    frames = [_frame(contrast, point, value[point.patch], ends) for point in points]
    return Faithfulness(pd.concat(frames, ignore_index=True))


def _stream(difference: StreamDifference, one: GroupPatch) -> Float[Tensor, "token width"]:
    """The target with these features, or all others, as in the source."""
    match one.error:
        case "keep":
            base = difference.target
        case "drop":
            base = difference.reconstruction
        case "patch":
            base = difference.target + difference.of_error
    moved = difference.of(sorted(one.features))  # in one order, on which sums in float32 depend
    return base + (moved if one.patched == GROUP else difference.of_all - moved)


def _values(
    contrast: Contrast,
    site: Site,
    streams: Iterable[Float[Tensor, "token width"]],
    batch_rows: int,
    progress: bool,
) -> list[np.ndarray]:
    """The metric after every text with the site holding each stream at the compared tokens: [text] each."""
    values: list[np.ndarray] = []
    texts = range(len(contrast.pairs.target))
    for batch in _batched(contrast.put(site, stream) for stream in streams):
        cells = [Cell(text, (one,)) for one in batch for text in texts]
        table = run_cells(
            contrast.host,
            CellGrid(contrast.pairs.target, cells),
            contrast.metric,
            batch_rows=batch_rows,
            progress=progress,
            desc="faithfulness",
        )
        values += list(table.value.double().numpy().reshape(len(batch), len(texts)))
    return values


def _batched(patches: Iterator[Intervention]) -> Iterator[list[Intervention]]:
    """Patches, as many at once as memory should hold the sources of."""
    batch: list[Intervention] = []
    n_bytes = 0
    for one in patches:
        batch.append(one)
        assert isinstance(one.edit, Patch)
        n_bytes += one.edit.source.nbytes
        if n_bytes >= BYTES_AT_ONCE:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch


def _frame(contrast: Contrast, point: CurvePoint, value: np.ndarray, ends: _Ends) -> pd.DataFrame:
    metric = contrast.metric
    return pd.DataFrame(
        {
            "group": point.group,
            "control": point.group.startswith(CONTROL),
            "n": point.n,
            "error": point.patch.error,
            "patched": point.patch.patched,
            "text": np.arange(len(value)),
            "problem": list(contrast.pairs.problems),
            "value": value,
            "effect": value - ends.target,
            "full": ends.full - ends.target,
            "metric": metric.name,
            "unit": metric.unit,
            "direction": contrast.pairs.direction,
        }
    )
