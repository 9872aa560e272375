"""capture: run a host over texts and keep what some sites held; the pass stops at the last of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from reasonmech.errors import DataError, NonFiniteError, OutputError
from reasonmech.hosts.host import Host
from reasonmech.paths import PLAN_FILE, check_new, partial_of
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations import Activations, record_of, shard_file, write_tables
from reasonmech.runtime.memory import halving
from reasonmech.site import Site

if TYPE_CHECKING:
    import pandas as pd

BATCHES_PER_SHARD: Final = 16


class _Row(NamedTuple):
    """One text: its tokens, and whose they are."""

    problem: str
    ids: tuple[int, ...]
    prompt_length: int
    by_environment: tuple[bool, ...]


def capture(
    host: Host,
    rollouts: Sequence[Rollout | str],
    sites: Sequence[Site | str],
    *,
    out: str | Path | None = None,
    batch_size: int = 64,
    dtype: torch.dtype | None = None,
    progress: bool = True,
) -> Activations:
    """Activations of every token (prompt included) at some sites.

    Rows of like length share a batch; padding is on the right, where a causal model never looks, so every value is
    what the row alone would give (up to the rounding of another matrix shape). Layers above the last site do not run.

    Args:
        out: directory of a store; memory then holds the index of the tokens but none of their activations (see
            benchmarks/RESULTS.md for what that takes), and a killed capture goes on where it stopped when it is
            called again. None: in memory.
        batch_size: texts per pass; halved, with a warning, where memory is short.
        dtype: dtype kept. None: the model's.

    Raises:
        UnknownNameError: the host has no such site; the range is listed.
        NonFiniteError: NaN or infinity; site, problem and position are named.
        DataError: no text, a text without tokens, or no site.
        OutputError: `out` exists, cannot be written, or holds part of another capture.
    """
    at = tuple(dict.fromkeys(host.check_site(site) for site in sites))
    if not at:
        raise DataError("no site to capture", do="name at least one, such as resid_post.2")
    texts = [_row(host, i, text) for i, text in enumerate(rollouts)]
    if not texts:
        raise DataError("no text to capture from")
    keep = dtype or host.dtype
    if out is not None:
        return _to_store(host, texts, at, out=Path(out), batch_size=batch_size, dtype=keep, progress=progress)
    with _bar(texts, progress) as bar:
        shard = _run(host, texts, at, batch_size=batch_size, dtype=keep, bar=bar)
    return Activations(at, _index(texts), host.name, host.weight_hash, (shard,))


def _row(host: Host, number: int, text: Rollout | str) -> _Row:
    if isinstance(text, str):
        ids = tuple(host.encode(text))
        row = _Row(f"text/{number}", ids, len(ids), (False,) * len(ids))
    else:
        prompt = (False,) * len(text.prompt_ids)
        row = _Row(text.problem.id, text.all_ids, len(prompt), (*prompt, *text.by_environment))
    if not row.ids:
        raise DataError(f"text {number} ({row.problem}) has no token", do="leave it out")
    return row


def _bar(texts: Sequence[_Row], progress: bool) -> tqdm[Any]:
    return tqdm(total=sum(len(text.ids) for text in texts), desc="capture", unit="token", disable=not progress)


def _run(
    host: Host, texts: Sequence[_Row], sites: Sequence[Site], *, batch_size: int, dtype: torch.dtype, bar: tqdm[Any]
) -> dict[str, Tensor]:
    """Activations of these texts, laid end to end in their order: site name -> [token, width]."""
    lengths = torch.tensor([len(text.ids) for text in texts])
    starts = lengths.cumsum(0) - lengths
    kept = {str(site): torch.empty(int(lengths.sum()), host.width(site), dtype=dtype) for site in sites}
    order = lengths.argsort(descending=True, stable=True)
    with _reading(host, sites) as read:

        def keep(numbers: Sequence[int]) -> Sequence[int]:
            some = torch.tensor(numbers)
            rows = [texts[i] for i in numbers]
            width = max(len(row.ids) for row in rows)
            real = torch.arange(width) < lengths[some][:, None]
            ids = torch.tensor([(*row.ids, *row.ids[-1:] * (width - len(row.ids))) for row in rows])
            target = (starts[some][:, None] + torch.arange(width))[real]
            where = real.to(host.device)
            for site, hidden in read(ids.to(host.device)).items():
                values = hidden[where.to(hidden.device)].to("cpu", dtype)
                if not bool(torch.isfinite(values).all()):
                    raise _non_finite(site, values, real, rows)
                kept[str(site)][target] = values
            bar.update(int(real.sum()))
            return numbers

        for some in order.split(batch_size):
            halving(some.tolist(), keep, what="text")
    return kept


class _Enough(Exception):
    """Raised by the last site's hook: nothing above it needs to run."""


class _Read:
    """Runs token ids through the model and returns what the hooks saw."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.seen: dict[Site, Tensor] = {}

    def __call__(self, ids: Tensor) -> Mapping[Site, Tensor]:
        self.seen.clear()
        with suppress(_Enough):
            self.host.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        return self.seen


@contextmanager
def _reading(host: Host, sites: Sequence[Site]) -> Iterator[_Read]:
    read, handles = _Read(host), []
    ordered = sorted(sites, key=lambda site: (site.depth, site.kind == "resid_pre"))
    try:
        for site in ordered:

            def keep(hidden: Tensor, site: Site = site, last: bool = site == ordered[-1]) -> None:
                read.seen[site] = hidden
                if last:
                    raise _Enough

            handles.append(host.hook_point(site).attach(keep))
        with torch.no_grad():  # not inference_mode: some rotary embeddings cache what they compute in the model
            yield read
    finally:
        for handle in handles:
            handle.remove()


def _non_finite(site: Site, values: Tensor, real: Tensor, texts: Sequence[_Row]) -> NonFiniteError:
    first = int((~torch.isfinite(values)).any(-1).nonzero()[0])
    row, position = real.nonzero()[first].tolist()
    return NonFiniteError(
        f"activations of {site} hold NaN or infinity in problem {texts[row].problem!r} at position {position}",
        do="run the model in float32 or bfloat16, or keep the activations in a wider dtype",
    )


def _index(texts: Sequence[_Row]) -> pd.DataFrame:
    import pandas as pd

    lengths = [len(text.ids) for text in texts]
    rollout = np.repeat(np.arange(len(texts)), lengths)
    position = np.arange(len(rollout)) - (np.cumsum(lengths) - lengths)[rollout]
    return pd.DataFrame(
        {
            "rollout": rollout,
            "problem": np.array([text.problem for text in texts], dtype=object)[rollout],
            "position": position,
            "token": np.fromiter(chain.from_iterable(text.ids for text in texts), dtype=np.int64),
            "generated": position >= np.array([text.prompt_length for text in texts])[rollout],
            "by_environment": np.fromiter(chain.from_iterable(text.by_environment for text in texts), dtype=bool),
        },
        copy=False,
    )


def _to_store(
    host: Host,
    texts: Sequence[_Row],
    sites: tuple[Site, ...],
    *,
    out: Path,
    batch_size: int,
    dtype: torch.dtype,
    progress: bool,
) -> Activations:
    """Shard by shard into `<out>.partial`, which is renamed when the last one is there."""
    out = check_new(out)
    partial = partial_of(out)
    size = batch_size * BATCHES_PER_SHARD
    pieces = [texts[i : i + size] for i in range(0, len(texts), size)]
    _begin(partial, host, texts, sites, size=size, dtype=dtype)
    shards = []
    with _bar(texts, progress) as bar:
        for number, piece in enumerate(pieces):
            file = partial / shard_file(number)
            if file.exists():
                bar.update(sum(len(text.ids) for text in piece))
            else:
                unfinished = partial_of(file)
                save_file(_run(host, piece, sites, batch_size=batch_size, dtype=dtype, bar=bar), unfinished)
                unfinished.rename(file)
            shards.append(load_file(file))
    acts = Activations(sites, _index(texts), host.name, host.weight_hash, tuple(shards))
    write_tables(partial, acts.index, record_of(acts))
    partial.rename(out)
    del acts  # an index grows with the tokens: one at a time
    return Activations.load(out)


def _begin(
    partial: Path, host: Host, texts: Sequence[_Row], sites: Sequence[Site], *, size: int, dtype: torch.dtype
) -> None:
    """Open the partial store: a new one, or the same capture's, which a kill interrupted."""
    tokens = hashlib.sha256(repr([text.ids for text in texts]).encode()).hexdigest()
    plan = {
        "host_hash": host.weight_hash,
        "sites": [str(site) for site in sites],
        "texts": tokens,
        "texts_per_shard": size,
        "dtype": str(dtype),
    }
    file = partial / PLAN_FILE
    if partial.exists():
        if file.is_file() and json.loads(file.read_text()) == plan:
            return
        raise OutputError(
            f"{partial} holds part of another capture", do="delete it, or choose another out=; nothing was changed"
        )
    partial.mkdir()
    file.write_text(json.dumps(plan, indent=1) + "\n")
