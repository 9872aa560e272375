"""check_fit: whether a sparse coder fits this host on this text, before any of its features is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, final

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from reasonmech.coders import SparseCoder, check_belongs, reconstruct
from reasonmech.errors import DataError, MismatchError
from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import of_this_thread, run_alone
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.activations.keep import Keep
from reasonmech.site import Site

CHUNK = 8192  # tokens encoded at once
TIE = 1e-3  # of variance explained: two sites that a coder fits alike to rounding, such as an exact one


@final
@dataclass(frozen=True)
class FitReport:
    """How well a coder stands for the stream at its site.

    Attributes:
        explained_variance: 1 - sum ||x - x'||^2 / sum ||x - mean||^2 over all tokens.
        l0: mean number of active features per token.
        dead_share: share of features that never fire on this text.
        ce_clean, ce_spliced, ce_zero: next-token cross-entropy in nats: untouched, with the stream replaced
            by its reconstruction, and with the site set to zero.
        ce_recovered: (ce_zero - ce_spliced) / (ce_zero - ce_clean).
        n_tokens: tokens read; each but the last of a text predicts one.
        neighbours: explained variance, by this same coder, of the sites of its kind in the layers beside.
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

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a record or a table."""
        return asdict(self)

    def _repr_html_(self) -> str:
        beside = {f"explained_variance at {site}": value for site, value in self.neighbours.items()}
        values = {name: value for name, value in self.to_json().items() if name != "neighbours"} | beside
        shown = {
            name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in values.items()
        }
        return pd.Series(shown, name=f"fit at {self.site}").to_frame().to_html()


def check_fit(
    host: Host,
    coder: SparseCoder,
    rollouts: Sequence[Rollout] | Sequence[str],
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> FitReport:
    """Measure a coder on text: variance explained, sparsity, dead features, cross-entropy recovered.

    As SAELens' evals, over every token (no special token is left out). A coder that explains a neighbouring
    site better than the one that it says it was trained at is refused: its record is off by a layer (some
    libraries count the embedding as layer 0), or it belongs to another model of the same width.

    Raises:
        MismatchError: the coder belongs to another model, or fits a neighbouring site better than its own.
        NonFiniteError: NaN or infinity at its site.
        DataError: no text predicts a next token, the site is the same at every token, or zeroing it changes
            nothing.
    """
    check_belongs(coder, host)
    host.check_site(coder.site)
    beside = _neighbours(host, coder)
    acts = capture(host, rollouts, [coder.site, *beside], keep=Keep(batch_size=batch_size), progress=progress)
    texts = [host.encode(text) if isinstance(text, str) else list(text.all_ids) for text in rollouts]
    texts = [ids for ids in texts if len(ids) > 1]
    if not texts:
        raise DataError("no text is longer than one token", do="give longer ones")
    variance, active, fired = _reconstruct(acts, coder.site, coder)
    others = {str(site): _reconstruct(acts, site, coder)[0] for site in beside}
    _check_neighbours(coder, variance, others)
    edits: dict[str, Callable[[Tensor], Tensor | None]] = {
        "clean": lambda _: None,
        "spliced": partial(reconstruct, coder),
        "zero": torch.zeros_like,
    }
    ce = {}
    for name, edit in tqdm(edits.items(), desc="cross-entropy", disable=not progress):
        with _attached(host, coder, edit):
            ce[name] = _cross_entropy(host, texts, batch_size=batch_size)
    if ce["zero"] == ce["clean"]:
        raise DataError(f"setting {coder.site} to zero changes no prediction", do="check a site that matters")
    return FitReport(
        site=str(coder.site),
        explained_variance=variance,
        l0=active,
        dead_share=1 - fired,
        ce_clean=ce["clean"],
        ce_spliced=ce["spliced"],
        ce_zero=ce["zero"],
        ce_recovered=(ce["zero"] - ce["spliced"]) / (ce["zero"] - ce["clean"]),
        n_tokens=len(acts),
        neighbours=others,
    )


def _neighbours(host: Host, coder: SparseCoder) -> list[Site]:
    """The sites of the same kind and width in the layers beside a coder's own."""
    beside = [coder.site._replace(layer=coder.site.layer + step) for step in (-1, 1)]
    return [site for site in beside if 0 <= site.layer < host.n_layers and host.width(site) == coder.d_in]


def _check_neighbours(coder: SparseCoder, variance: float, others: Mapping[str, float]) -> None:
    better = {site: value for site, value in others.items() if value > variance + TIE}
    if better:
        elsewhere = ", ".join(f"{value:.3f} at {site}" for site, value in better.items())
        raise MismatchError(
            f"coder {coder.name!r} explains {variance:.3f} of the variance at {coder.site}, where it says it "
            f"was trained, and {elsewhere}",
            allowed="a coder that fits its own site best",
            do="check which layer, and which model, it was trained on; or train it longer",
        )


@torch.no_grad()
def _reconstruct(acts: Activations, site: Site, coder: SparseCoder) -> tuple[float, float, float]:
    """Explained variance, mean active features, share of features that fire."""
    x = acts.at(site)
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
    return 1 - error / total, active / len(x), fired.float().mean().item()


def reconstructed(host: Host, coder: SparseCoder) -> AbstractContextManager[None]:
    """Inside the block the stream at a coder's site is its reconstruction, at every token, without the error
    node."""
    return _attached(host, coder, partial(reconstruct, coder))


@contextmanager
def _attached(host: Host, coder: SparseCoder, edit: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    handle = host.hook_point(coder.site).attach(of_this_thread(edit))
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def _cross_entropy(host: Host, texts: Sequence[Sequence[int]], *, batch_size: int) -> float:
    """Mean next-token cross-entropy in nats over every token but the first of each text."""
    ordered = sorted(texts, key=len, reverse=True)
    total, n = 0.0, 0
    for start in range(0, len(ordered), batch_size):
        batch = ordered[start : start + batch_size]
        width = len(batch[0])
        # Padded on the right with real tokens: attention is causal, so padding changes no loss that counts.
        ids = torch.tensor([[*text, *[text[-1]] * (width - len(text))] for text in batch], device=host.device)
        real = torch.tensor([[i < len(text) for i in range(1, width)] for text in batch], device=host.device)
        logits = _next_logits(host, ids)
        loss = torch.nn.functional.cross_entropy(logits[real].float(), ids[:, 1:][real], reduction="sum")
        total, n = total + loss.item(), n + int(real.sum())
    return total / n


def _next_logits(host: Host, ids: Int[Tensor, "row pos"]) -> Float[Tensor, "row pos-1 vocab"]:
    """Logits of every token but the first."""
    attention = torch.ones_like(ids)
    out = run_alone(host, lambda: host.model(input_ids=ids, attention_mask=attention, use_cache=False))
    return out.logits[:, :-1]
