"""check_fit: whether a sparse coder fits this host on this text, before any of its features is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple, final

import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from reasonmech.arguments import check_type
from reasonmech.coders import SAELensCoder, Sinks, SparseCoder, check_belongs, no_sinks, reconstruct
from reasonmech.door import checked
from reasonmech.errors import DataError, MismatchError
from reasonmech.hosts.host import Host
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.activations.keep import Keep
from reasonmech.runtime.activations.site_sinks import sinks_at, sinks_of
from reasonmech.runtime.fit_notes import notes_on_texts
from reasonmech.runtime.spliced_loss import attached, cross_entropies, sparing
from reasonmech.site import Site

CHUNK = 8192  # tokens encoded at once
TIE = 1e-3  # of variance explained: two sites that a coder fits alike to rounding, such as an exact one


@final
@dataclass(frozen=True)
class FitReport:
    """How well a coder stands for the stream at its site.

    Attributes:
        explained_variance: 1 - sum ||x - x'||^2 / sum ||x - mean||^2 over the tokens that are no attention
            sinks.
        l0: mean number of active features per such token.
        dead_share: share of features that never fire on them.
        ce_clean, ce_spliced, ce_zero: next-token cross-entropy in nats, at every token: untouched, with the
            stream replaced by its reconstruction, and with the site set to zero, both but at sinks.
        ce_recovered: (ce_zero - ce_spliced) / (ce_zero - ce_clean).
        n_tokens: tokens read; each but the last of a text predicts one.
        neighbours: explained variance, by this same coder, of the sites of its kind in the layers beside.
        n_left_out: tokens that are attention sinks at the site.
        left_out_variance: their share of sum ||x - mean||^2 over all tokens.
        notes: where these texts are not of the kind that the coder's record says it was trained on.
    """

    site: str
    explained_variance: float
    l0: float
    dead_share: float
    ce_clean: float
    ce_spliced: float
    ce_zero: float
    ce_recovered: float
    n_tokens: int
    neighbours: Mapping[str, float]
    n_left_out: int = 0
    left_out_variance: float = 0.0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a record or a table."""
        return asdict(self)

    def _repr_html_(self) -> str:
        beside = {f"explained_variance at {site}": value for site, value in self.neighbours.items()}
        noted = {"note" if i == 0 else f"note {i + 1}": note for i, note in enumerate(self.notes)}
        plain = {name: value for name, value in self.to_json().items() if name not in ("neighbours", "notes")}
        shown = {
            name: f"{value:.4g}" if isinstance(value, float) else str(value)
            for name, value in (plain | beside | noted).items()
        }
        return pd.Series(shown, name=f"fit at {self.site}").to_frame().to_html()


@checked
def check_fit(
    host: Host,
    coder: SparseCoder,
    rollouts: Sequence[Rollout | str] | Rollout | str,
    *,
    batch_size: int = 64,
    include_sinks: bool = False,
    progress: bool = True,
) -> FitReport:
    """Measure a coder on text: variance explained, sparsity, dead features, cross-entropy recovered.

    As SAELens' evals, over every token that is no attention sink (`find_sinks`): the variance of a language
    model's stream is nearly all that of one token per text, which any coder explains, at any layer. A coder
    that explains a neighbouring site better than the one that it says it was trained at is refused: its
    record is off by a layer (some libraries count the embedding as layer 0), or it belongs to another model
    of the same width. Sites are compared over the tokens that are sinks at neither.

    Args:
        include_sinks: measure every token.

    Raises:
        MismatchError: the coder belongs to another model, or fits a neighbouring site better than its own.
        NonFiniteError: NaN or infinity at its site.
        DataError: no text predicts a next token, the site is the same at every token, or zeroing it changes
            nothing.
    """
    rollouts = _check_arguments(host, coder, rollouts, batch_size=batch_size)
    check_belongs(coder, host)
    host.check_site(coder.site)
    beside = _neighbours(host, coder)
    acts = capture(host, rollouts, [coder.site, *beside], keep=Keep(batch_size=batch_size), progress=progress)
    texts = [host.encode(text) if isinstance(text, str) else list(text.all_ids) for text in rollouts]
    notes = notes_on_texts(coder.stream, host, texts) if isinstance(coder, SAELensCoder) else ()
    texts = [ids for ids in texts if len(ids) > 1]
    if not texts:
        raise DataError("no text is longer than one token", do="give longer ones")
    sinks = no_sinks(len(acts)) if include_sinks else sinks_of(acts, coder.site)
    measured = ~sinks_at(acts, coder.site, sinks)
    at_site = _reconstruct(acts, coder.site, coder, measured)
    others = {}
    for site in beside:
        both = measured if include_sinks else measured & ~sinks_at(acts, site, sinks_of(acts, site))
        here = at_site if torch.equal(both, measured) else _reconstruct(acts, coder.site, coder, both)
        others[site] = (here.explained, _reconstruct(acts, site, coder, both).explained)
    _check_neighbours(coder, others)
    ce = cross_entropies(host, coder, texts, sinks, batch_size=batch_size, progress=progress)
    return FitReport(
        site=str(coder.site),
        explained_variance=at_site.explained,
        l0=at_site.l0,
        dead_share=1 - at_site.fired,
        ce_clean=ce["clean"],
        ce_spliced=ce["spliced"],
        ce_zero=ce["zero"],
        ce_recovered=(ce["zero"] - ce["spliced"]) / (ce["zero"] - ce["clean"]),
        n_tokens=len(acts),
        neighbours={str(site): there for site, (_, there) in others.items()},
        n_left_out=int((~measured).sum()),
        left_out_variance=sinks.variance_share,
        notes=notes,
    )


def _check_arguments(
    host: object, coder: object, rollouts: object, *, batch_size: int
) -> Sequence[Rollout | str]:
    """The texts, one alone as a list of it. Raises ArgumentError, or DataError where there is none."""
    call = "rm.check_fit(host, coder, rollouts)"
    check_type(host, Host, name="host", allowed="a Host, such as rm.load_pair(...).base", do=call)
    check_type(coder, SparseCoder, name="coder", allowed="a sparse coder", do=call)
    if batch_size < 1:
        raise DataError(f"batch_size={batch_size}", allowed="1 or more texts per pass")
    if isinstance(rollouts, Rollout | str):
        return [rollouts]
    return check_type(rollouts, Sequence, name="rollouts", allowed="rollouts or texts, in a list", do=call)


def _neighbours(host: Host, coder: SparseCoder) -> list[Site]:
    """The sites of the same kind and width in the layers beside a coder's own."""
    beside = [coder.site._replace(layer=coder.site.layer + step) for step in (-1, 1)]
    return [site for site in beside if 0 <= site.layer < host.n_layers and host.width(site) == coder.d_in]


def _check_neighbours(coder: SparseCoder, explained: Mapping[Site, tuple[float, float]]) -> None:
    """Raise MismatchError where a coder explains a neighbouring site better than, on the same tokens, its
    own."""
    # what explains nothing at either says nothing of the layer
    better = {
        site: (here, there) for site, (here, there) in explained.items() if there > max(0.0, here + TIE)
    }
    if better:
        elsewhere = ", ".join(f"{there:.3f} at {site}" for site, (_, there) in better.items())
        here = min(here for here, _ in better.values())
        raise MismatchError(
            f"coder {coder.name!r} explains {here:.3f} of the variance at {coder.site}, where it says it "
            f"was trained, and {elsewhere}",
            allowed="a coder that fits its own site best",
            do="check which layer, and which model, it was trained on; or train it longer",
        )


class _Reconstruction(NamedTuple):
    """Explained variance, mean active features, share of features that fire."""

    explained: float
    l0: float
    fired: float


@torch.no_grad()
def _reconstruct(
    acts: Activations, site: Site, coder: SparseCoder, measured: Bool[Tensor, " token"]
) -> _Reconstruction:
    """Over the measured tokens [token]."""
    x = acts.at(site)
    x = _seen(coder, x if bool(measured.all()) else x[measured])
    mean = x.double().mean(0)
    error = total = 0.0
    active, fired = 0, torch.zeros(coder.d_sae, dtype=torch.bool)
    for chunk in x.split(CHUNK):
        stream = chunk.to(coder.device, coder.dtype)
        features = coder.encode(stream)
        error += (stream - coder.decode(features)).double().pow(2).sum().item()
        total += (chunk.double() - mean).pow(2).sum().item()
        active += int((features != 0).sum())
        fired |= (features != 0).any(0).cpu()
    if total == 0:
        raise DataError(f"{site} is the same at every token", do="give more text")
    return _Reconstruction(1 - error / total, active / len(x), fired.float().mean().item())


def _seen(coder: SparseCoder, x: Tensor) -> Tensor:
    """The part of a stream that a coder is to explain: all but a mean that its training never saw."""
    return coder.seen(x) if isinstance(coder, SAELensCoder) else x


def reconstructed(host: Host, coder: SparseCoder, sinks: Sinks) -> AbstractContextManager[None]:
    """Inside the block the stream at a coder's site is its reconstruction, without the error node, at every
    token but sinks. For passes over whole texts that begin at column 0."""
    return attached(host, coder, sparing(sinks, partial(reconstruct, coder)))
