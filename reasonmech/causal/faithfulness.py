"""faithfulness: the share of a site's patching effect that groups of features carry, and what is left without
them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias, final, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from reasonmech.causal.contrast import Contrast, Parts
from reasonmech.causal.exchange import PatchDirection, exchange
from reasonmech.causal.intervals import mean_by
from reasonmech.causal.positions import Positions
from reasonmech.coders.coder import SparseCoder
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.files import write_table
from reasonmech.hosts.host import Host
from reasonmech.interventions.edits import Patch
from reasonmech.interventions.intervention import Intervention
from reasonmech.runtime.batched.cells import Cell, run_cells
from reasonmech.runtime.gradients import read_streams
from reasonmech.runtime.pass_rows import TextLike
from reasonmech.runtime.readout import Readout
from reasonmech.site import Site

ErrorNode: TypeAlias = Literal["keep", "drop", "patch"]
Groups: TypeAlias = Mapping[str, Sequence[int]] | Sequence[int]

GROUP: Final = "group"
REST: Final = "rest"
CONTROL: Final = "random"  # a group whose name begins so is a control
CURVE: Final = ("group", "control", "n", "error", "patched", "metric", "unit", "direction")
BYTES_AT_ONCE: Final = 2**28  # sources of patches that are held at once


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
        see `intervals.mean_by`): infinite where the interval of full covers 0.
        """
        return mean_by(
            self.table, CURVE, columns=("value", "effect", "full"), ratios={"share": ("effect", "full")}
        )

    def to_parquet(self, path: str | Path) -> None:
        """Write the table, to a temporary name first."""
        write_table(self.table, path)

    def _repr_html_(self) -> str:
        return self.curve.to_html(index=False, float_format="%.3g")


class _Setting(NamedTuple):
    """One patched stream: these features, or all others, moved, and the error treated so."""

    features: frozenset[int]
    error: ErrorNode
    patched: str


class _Point(NamedTuple):
    """One point of one curve."""

    group: str
    n: int
    setting: _Setting


def faithfulness(
    host: Host,
    clean: Sequence[TextLike],
    corrupt: Sequence[TextLike],
    coder: SparseCoder,
    groups: Groups,
    *,
    metric: Readout,
    direction: PatchDirection = "denoise",
    error: Sequence[ErrorNode] = ("keep", "drop"),
    sizes: Sequence[int] | None = None,
    positions: Positions = None,
    transfer: bool = False,
    batch_rows: int = 128,
    progress: bool = False,
) -> Faithfulness:
    """How much of what patching a whole site does, patching the first n features of a group does.

    With m(S) the metric when the features S of the target are set to what they are in the source, share(S) =
    (m(S) - m(target)) / (m(whole site patched) - m(target)), signed and not clipped. Patching the group is
    its *faithfulness* (1: it carries the effect), patching all other features its *completeness* (0: nothing
    is left without it); Marks et al. 2024 (arXiv 2403.19647, section 3.2) with activations of the other run
    where they take means. The difference between texts is written exactly, at every compared token at once.

    Args:
        clean, corrupt: pairs of texts; the metric is read after the target's.
        groups: features, most important first, such as `attribution.ranking(site)`; or name -> features.
            Groups whose name begins with "random" are controls, such as `locate.matched_features` draws.
        error: what becomes of the coder's reconstruction error: "keep" leaves the target's in the stream,
            "drop" takes it out (the share of the empty group then says what that alone does), "patch" moves
            it with whatever is patched (group and rest alike), so that all features together are the whole
            site.
        sizes: numbers of features. None: 0, 1, 2, 4, ... and the length of every group.
        positions: places that are compared and patched, as in `patch_grid`. None: all, for texts of equal
            length.
        transfer: the coder may come from another model than the host.
        batch_rows: rows of one pass; halved, with a warning, where memory is short.

    Raises:
        DataError: an empty or repeating group, a size that no group has, or patching the whole site does
            nothing.
        UnknownNameError: a feature, direction or error treatment that does not exist.
        MismatchError: the coder does not fit the host. NonFiniteError: NaN or infinity came out of a patch.
    """
    named = groups if isinstance(groups, Mapping) else {GROUP: groups}
    _check(named, error, coder)
    pairs = exchange(host, clean, corrupt, positions=positions, direction=direction)
    contrast = Contrast(host, pairs, metric, transfer)
    contrast.check_coder(coder)
    target, source = (
        read_streams(host, texts, at, [coder.site], batch_rows=batch_rows)[coder.site]
        for texts, at in ((pairs.target, contrast.at_target), (pairs.source, contrast.at_source))
    )
    contrast.check_differs(coder.site, source - target)
    parts = Parts(coder, target, source, {feature for group in named.values() for feature in group})
    points = _points(named, error, sizes)
    settings = list(dict.fromkeys(point.setting for point in points))
    streams = chain((target, source), (_stream(parts, setting) for setting in settings))
    before, full, *found = _values(contrast, coder.site, streams, batch_rows, progress)
    if not (full != before).any():
        raise DataError(
            f"patching the whole of {coder.site} leaves metric {metric.name!r} as it is: there is no effect "
            "to share",
            allowed="a site and places whose patch changes the metric",
            do="look for them with patch_grid",
        )
    value = dict(zip(settings, found, strict=True))
    frames = [_frame(contrast, point, value[point.setting], before, full) for point in points]
    return Faithfulness(pd.concat(frames, ignore_index=True))


def _check(groups: Mapping[str, Sequence[int]], error: Sequence[ErrorNode], coder: SparseCoder) -> None:
    if not groups or not error:
        raise DataError(
            f"{len(groups)} groups and {len(error)} error treatments", allowed="at least one of each"
        )
    for one in error:
        if one not in get_args(ErrorNode):
            raise UnknownNameError("error treatment", str(one), get_args(ErrorNode))
    for name, features in groups.items():
        if not len(features) or len(set(features)) < len(features):
            raise DataError(
                f"group {name!r} holds features {list(features)}", allowed="at least one, each once"
            )
        if outside := [feature for feature in features if not 0 <= feature < coder.d_sae]:
            raise UnknownNameError(f"feature of {coder.name!r}", str(outside[0]), [f"0 .. {coder.d_sae - 1}"])


def _points(
    groups: Mapping[str, Sequence[int]], error: Sequence[ErrorNode], sizes: Sequence[int] | None
) -> list[_Point]:
    """Every group at every size that it has, both sides, every error treatment."""
    longest = max(len(features) for features in groups.values())
    if sizes is not None and not all(0 <= size <= longest for size in sizes):
        raise DataError(f"sizes {list(sizes)}", allowed=f"0 .. {longest}: no group has more features")
    doubling = [0, *(2**i for i in range(longest.bit_length()))]
    points = []
    for name, features in groups.items():
        own = sorted({*doubling, len(features)} if sizes is None else set(sizes))
        for n in (size for size in own if size <= len(features)):
            first = frozenset(int(feature) for feature in features[:n])
            points += [_Point(name, n, _Setting(first, one, side)) for one in error for side in (GROUP, REST)]
    return points


def _stream(parts: Parts, setting: _Setting) -> Float[Tensor, "token width"]:
    """The target with these features, or all others, as in the source."""
    match setting.error:
        case "keep":
            base = parts.target
        case "drop":
            base = parts.reconstruction
        case "patch":
            base = parts.target + parts.error_moved
    moved = parts.moved(sorted(setting.features))
    return base + (moved if setting.patched == GROUP else parts.all_moved - moved)


def _values(
    contrast: Contrast,
    site: Site,
    streams: Iterable[Float[Tensor, "token width"]],
    batch_rows: int,
    progress: bool,
) -> list[np.ndarray]:
    """The metric after every text with the site holding each stream at the compared tokens: [text] each."""
    found: list[np.ndarray] = []
    texts = range(len(contrast.pairs.target))
    for some in _batched(contrast.put(site, stream) for stream in streams):
        cells = [Cell(text, (given,)) for given in some for text in texts]
        table = run_cells(
            contrast.host,
            contrast.pairs.target,
            cells,
            contrast.metric,
            batch_rows=batch_rows,
            progress=progress,
            desc="faithfulness",
        )
        found += list(table.value.double().numpy().reshape(len(some), len(texts)))
    return found


def _batched(patches: Iterator[Intervention]) -> Iterator[list[Intervention]]:
    """Patches, as many at once as memory should hold the sources of."""
    batch: list[Intervention] = []
    held = 0
    for given in patches:
        batch.append(given)
        assert isinstance(given.edit, Patch)
        held += given.edit.source.nbytes
        if held >= BYTES_AT_ONCE:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _frame(
    contrast: Contrast, point: _Point, value: np.ndarray, before: np.ndarray, full: np.ndarray
) -> pd.DataFrame:
    metric = contrast.metric
    return pd.DataFrame(
        {
            "group": point.group,
            "control": point.group.startswith(CONTROL),
            "n": point.n,
            "error": point.setting.error,
            "patched": point.setting.patched,
            "text": np.arange(len(value)),
            "problem": list(contrast.pairs.problems),
            "value": value,
            "effect": value - before,
            "full": full - before,
            "metric": metric.name,
            "unit": metric.unit,
            "direction": contrast.pairs.direction,
        }
    )
