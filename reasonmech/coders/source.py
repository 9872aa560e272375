"""ActivationSource: what a coder is trained on, and batches of it in an order that a seed fixes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.arguments import check_type, describe
from reasonmech.coders.coder import Trained
from reasonmech.coders.config import CoderConfig
from reasonmech.coders.sinks import find_sinks, no_sinks
from reasonmech.coders.training import InputMoments
from reasonmech.digest import ModelIdentity, check_model, hash_tensors, identity_of
from reasonmech.errors import ArgumentError, DataError, MismatchError, NonFiniteError, UnknownNameError
from reasonmech.site import Site

SAMPLE: Final = 16384  # rows from which mean and norm are estimated
LISTED: Final = 2**24  # of more rows there is no list in memory: a sample may then hold a row twice


@runtime_checkable
class ActivationSource(Protocol):
    """Activations of a host that may be larger than memory (runtime's Activations are one)."""

    @property
    def sites(self) -> Sequence[Site]: ...
    @property
    def host_name(self) -> str: ...
    @property
    def host_hash(self) -> str: ...
    @property
    def n_tokens(self) -> int: ...
    def take(self, site: Site | str, tokens: Int[Tensor, " n"]) -> Float[Tensor, "n d_model"]:
        """Some rows, in their order."""
        ...

    def stream(
        self, site: Site | str, *, batch_size: int, seed: int, epochs: int, buffer: int
    ) -> Iterator[Float[Tensor, "batch d_model"]]:
        """Batches in random order, every row once an epoch, the same rows at every site; `buffer` rows in
        memory."""
        ...


@runtime_checkable
class TextSource(Protocol):
    """An ActivationSource that knows the texts its rows are of (runtime's Activations do)."""

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        ...

    @property
    def with_bos(self) -> bool:
        """Whether every text begins with the tokenizer's BOS."""
        ...

    def positions(self, tokens: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Position in its text of some rows."""
        ...


class TensorSource(NamedTuple):
    """One tensor [row, d_in] as an ActivationSource."""

    values: Tensor
    sites: tuple[Site, ...]
    host_name: str
    host_hash: str
    beyond: dict[str, str] | None = None

    def model_identity(self) -> ModelIdentity:
        return ModelIdentity.of(self.host_hash, self.beyond)

    @property
    def n_tokens(self) -> int:
        return len(self.values)

    def take(self, site: Site | str, tokens: Tensor) -> Tensor:
        return self.values[tokens]

    def stream(
        self, site: Site | str, *, batch_size: int, seed: int, epochs: int, buffer: int
    ) -> Iterator[Tensor]:
        """As `batches_of_rows`: it is in memory, so there is nothing to buffer."""
        rows = batches_of_rows(self.n_tokens, batch_size=batch_size, seed=seed)
        return (self.values[batch] for batch in islice(rows, epochs * (self.n_tokens // batch_size)))


def check_trained(host: object) -> None:
    """Raise ArgumentError for a `host=` that is no model."""
    if host is not None:
        check_type(host, Trained, name="host", allowed="a Host, or None", do="host=rm.load_host(...)")


def one_site(
    acts: ActivationSource | Tensor, *, site: Site | str | None, host: Trained | None
) -> tuple[Site, ActivationSource]:
    """The site that is meant, and the activations as a source that says which model they are of.

    Raises:
        MismatchError: a tensor without site and host, several sites and none named, or another host's
            activations.
        UnknownNameError: no such site was captured.
    """
    check_activations(acts)
    check_trained(host)
    if isinstance(acts, Tensor):
        if site is None or host is None:
            raise MismatchError(
                "a plain tensor does not say which site of which model it holds", do="pass site= and host="
            )
        at = Site.parse(site)
        _check_tensor(acts, at, host)
        model = identity_of(host, host.weight_hash)
        beyond = None if model is None else model.beyond_weights()
        return at, TensorSource(acts, (at,), host.name, host.weight_hash, beyond)
    if site is None and len(acts.sites) != 1:
        raise MismatchError(f"the activations hold {len(acts.sites)} sites", do="say which one: site=")
    if host is not None:
        check_model(
            f"the activations are those of {acts.host_name!r}, weights",
            identity_of(acts, acts.host_hash),
            identity_of(host, host.weight_hash),
            model=f"host {host.name!r}",
            do="capture them from this model, or leave host= out: the activations say whose they are",
        )
    return check_captured(acts, acts.sites[0] if site is None else site), acts


def _check_tensor(acts: Tensor, site: Site, host: Trained) -> None:
    """Raise MismatchError unless a tensor can be rows of a host's site."""
    width = host.width(site)
    if acts.dim() != 2 or acts.shape[1] != width or not acts.is_floating_point():
        raise MismatchError(
            f"a tensor of shape {tuple(acts.shape)} and type {acts.dtype}",
            allowed=f"floating-point numbers [token, {width}]: {site} of {host.name!r} has that width",
            do="give the activations of that site; of a batch [row, token, d_model], x.flatten(0, 1)",
        )


def check_activations(acts: object) -> None:
    """Raise ArgumentError where something holds no activations."""
    if isinstance(acts, type) or not isinstance(acts, Tensor | ActivationSource):
        raise ArgumentError(
            f"acts is {describe(acts)}",
            allowed="the Activations that rm.capture returns, or a tensor [token, d_model]",
            do="rm.train_coder(acts, config); a tensor needs site= and host= besides",
        )


def check_captured(acts: ActivationSource, site: Site | str) -> Site:
    """The site itself. Raises UnknownNameError, listing what was captured."""
    at = Site.parse(site)
    if at not in acts.sites:
        raise UnknownNameError("captured site", str(at), map(str, acts.sites))
    return at


def moments_of(
    source: ActivationSource,
    site: Site,
    *,
    seed: int,
    device: torch.device,
    include_sinks: bool = False,
) -> InputMoments:
    """Mean and mean norm of a random sample of rows, those left out that are sinks in it.

    Raises:
        NonFiniteError: it holds NaN or infinity.
    """
    generator = torch.Generator().manual_seed(seed)
    n = source.n_tokens
    order = (
        torch.randperm(n, generator=generator)
        if n <= LISTED
        else torch.randint(n, (SAMPLE,), generator=generator)
    )
    rows = order[:SAMPLE]
    sample = source.take(site, rows).to(device, torch.float32)
    if not bool(torch.isfinite(sample).all()):
        raise NonFiniteError(
            f"activations of {site} hold NaN or infinity", do="capture them again in float32"
        )
    norm, sinks = sample.norm(dim=-1), no_sinks(len(sample))
    if not include_sinks:
        position = source.positions(rows) if isinstance(source, TextSource) else None
        sinks = find_sinks(lambda chosen: sample[chosen], len(sample), position)
    if sinks.n_sinks:  # by the norm alone from here on: batches come without positions
        ordinary = ~sinks.mask(norm)
        sinks = replace(sinks, first=False, n_sinks=int((~ordinary).sum()))
        sample, norm = sample[ordinary], norm[ordinary]
    return InputMoments(sample.mean(0), norm.mean().item(), sinks)


@runtime_checkable
class HashedSource(Protocol):
    """An ActivationSource that may know a hash of everything in it (runtime's Activations do)."""

    @property
    def content_hash(self) -> str | None: ...


def digest_of(source: ActivationSource, sites: Sequence[Site]) -> str:
    """SHA-256 of every row at some sites; of a store, the hash that it was written with."""
    if isinstance(source, HashedSource) and source.content_hash is not None:
        return source.content_hash
    digest = hashlib.sha256()
    for site in sites:
        for start in range(0, source.n_tokens, SAMPLE):
            rows = torch.arange(start, min(start + SAMPLE, source.n_tokens))
            digest.update(hash_tensors({str(site): source.take(site, rows)}).encode())
    return digest.hexdigest()


def batches_of(
    source: ActivationSource, sites: Sequence[Site], config: CoderConfig, *, start: int, stop: int
) -> Iterator[Mapping[Site, Float[Tensor, "batch d_model"]]]:
    """Batches number `start` to `stop` of the same rows at every site; every row once an epoch.

    With `config.buffer` they come from `source.stream`. What does not fill a batch at the end of an epoch is
    left out of that epoch.

    Raises:
        DataError: fewer rows than one batch.
    """
    size, seed, buffer = config.batch_size, config.seed, config.buffer
    if source.n_tokens < size:
        raise DataError(
            f"{source.n_tokens} tokens are fewer than one batch of {size}",
            do="capture more text, or lower batch_size",
        )
    if buffer is None:
        rows = batches_of_rows(source.n_tokens, batch_size=size, seed=seed, start=start)
        for batch in islice(rows, stop - start):
            yield {site: source.take(site, batch) for site in sites}
        return
    epochs = -(-stop // (source.n_tokens // size))
    streams = [
        source.stream(site, batch_size=size, seed=seed, epochs=epochs, buffer=buffer) for site in sites
    ]
    full = (batch for batch in zip(*streams, strict=True) if len(batch[0]) == size)
    for batch in islice(full, start, stop):
        yield dict(zip(sites, batch, strict=True))


def batches_of_rows(n: int, *, batch_size: int, seed: int, start: int = 0) -> Iterator[Int[Tensor, " batch"]]:
    """Endless batches of row numbers, from batch number `start` on; every row once before any comes again."""
    generator, per_pass = torch.Generator().manual_seed(seed), n // batch_size
    passed, skip = divmod(start, per_pass)
    for _ in range(passed):
        torch.randperm(n, generator=generator)
    while True:
        order = torch.randperm(n, generator=generator)
        for number in range(skip, per_pass):
            yield order[number * batch_size : (number + 1) * batch_size]
        skip = 0
