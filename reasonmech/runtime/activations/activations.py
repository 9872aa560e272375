"""Activations: what sites of a host held at the tokens of texts, in memory or in a store on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from reasonmech.arguments import check_type
from reasonmech.coders.coder import Trained
from reasonmech.digest import ModelIdentity
from reasonmech.door import checked
from reasonmech.errors import DataError, MismatchError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.labels import Labels
from reasonmech.ranges import Seed
from reasonmech.runtime.activations.origin import CodesOf, Origin
from reasonmech.runtime.activations.read_sites import FEATURES, VALUES
from reasonmech.runtime.activations.row_index import RowIndex, row_numbers, whole_numbers
from reasonmech.runtime.activations.shards import FileShard, Shard
from reasonmech.runtime.activations.store import load_store, save_store
from reasonmech.runtime.activations.stream import BUFFER, shuffled
from reasonmech.site import Site

if TYPE_CHECKING:
    import pandas as pd


@final
@dataclass(frozen=True, eq=False)
class Activations:
    """One row per captured token, text by text, in the order of the tokens.

    Attributes:
        sites: what was captured.
        origin: of which model, and in which form.
        shards: consecutive pieces; those of a store are verified when they are first read.
        content_hash: SHA-256 over the plan and every file of a store; None in memory.
    """

    sites: tuple[Site, ...]
    origin: Origin
    shards: tuple[Shard, ...]
    content_hash: str | None = None

    @property
    def host_name(self) -> str:
        return self.origin.host_name

    @property
    def host_hash(self) -> str:
        """`weight_hash` of the model."""
        return self.origin.host_hash

    def model_identity(self) -> ModelIdentity:
        """The model that they come from."""
        return self.origin.model

    @property
    def codes_of(self) -> CodesOf | None:
        """Whose features are kept in place of the stream; None where the stream is."""
        return self.origin.codes_of

    @property
    def n_tokens(self) -> int:
        return int(self._ends[-1])

    def __len__(self) -> int:
        return self.n_tokens

    @cached_property
    def index(self) -> pd.DataFrame:
        """[token] rollout, problem, position (absolute, prompt included), token (its id), generated,
        by_environment, and the further columns that were asked for. Of a store, read when first asked for:
        about 35 bytes a token.
        """
        return self._row_index.frame()

    @property
    def contiguous(self) -> bool:
        """Whether every text was kept from its first token without a gap: row = first row of the text +
        position."""
        return self._row_index.contiguous

    def positions(self, tokens: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Position in its text of some tokens (rows of `index`), read without the index as a frame."""
        rows = row_numbers(tokens, self.n_tokens, of=self).numpy()
        return torch.from_numpy(self._row_index.positions(rows).astype(np.int64))

    @property
    def longest(self) -> int:
        """One more than the largest position that was kept: tokens of the longest text, where all are."""
        return self._row_index.longest

    @property
    def with_bos(self) -> bool:
        """Whether every text whose first token was kept begins with the tokenizer's BOS; False where none
        was."""
        return self._row_index.first_tokens == {self.origin.bos_id}

    def at(self, site: Site | str) -> Float[Tensor, "token d_model"]:
        """Activations of every token, on the CPU.

        Raises:
            UnknownNameError: it was not captured; the sites that were are listed. MismatchError: features
                were kept,
            not the stream. CorruptFileError: a file of the store is not what was written.
        """
        return self._all(self._stream_of(site))

    def take(self, site: Site | str, tokens: Int[Tensor, " n"]) -> Float[Tensor, "n d_model"]:
        """Activations of some tokens (rows of `index`), in their order, without reading the others.

        Raises:
            DataError: there is no such row. As `at` otherwise.
        """
        return self._take(self._stream_of(site), tokens)

    def features(
        self, indices: Int[Tensor, " feature"] | list[int], *, tokens: Int[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n feature"]:
        """Activations of some features, where the k strongest were kept: 0 where a feature is not among them.

        Args:
            tokens: rows of `index`. None: all.

        Raises:
            MismatchError: the stream was kept, not features. DataError: the coder has no such feature.
        """
        which, values = self.codes(tokens=tokens)
        numbers = whole_numbers(indices, name="indices")
        of = self.codes_of
        assert of is not None
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < of.d_sae:
            raise DataError(f"features {numbers.tolist()} of {of.coder!r}", allowed=f"0 .. {of.d_sae - 1}")
        out = values.new_zeros(len(values), len(numbers))
        for column, i in enumerate(numbers.tolist()):
            out[:, column] = torch.where(which == i, values, 0).sum(-1)
        return out

    def codes(
        self, *, tokens: Int[Tensor, " n"] | None = None
    ) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
        """The k strongest features of some tokens and their activations; feature -1, value 0 where fewer are
        active.

        Raises:
            MismatchError: the stream was kept, not features.
        """
        if self.codes_of is None:
            raise MismatchError(
                "these activations hold the stream, not features",
                do="encode them, or capture with keep=Keep(codes=)",
            )
        names = [f"{self.sites[0]}{FEATURES}", f"{self.sites[0]}{VALUES}"]
        features, values = (self._all(n) if tokens is None else self._take(n, tokens) for n in names)
        return features, values

    def rows(self, site: Site | str, labels: Labels) -> Float[Tensor, "label d_model"]:
        """Activations at the labelled positions, one row per label.

        Raises:
            DataError: labels point at rollouts or positions that were not captured. As `at` otherwise.
        """
        return self.take(site, self.rows_of(labels))

    def rows_of(self, labels: Labels) -> Int[Tensor, " label"]:
        """Rows of `index` at the labelled positions. Raises DataError where one was not captured,
        MismatchError where labels were made from other texts."""
        rows = self._row_index.find(np.asarray(labels.rollout), np.asarray(labels.position))
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            i = int(missing[0])
            where = f"position {int(labels.position[i])} of rollout {int(labels.rollout[i])}"
            raise DataError(
                f"label {i} of {labels.behaviour!r} points at {where}, which was not captured, and so do "
                f"{len(missing) - 1} more of {len(labels)}",
                allowed=f"rollouts 0 .. {self._row_index.n_rollouts - 1}, at the positions that were kept of "
                "each",
                do="capture the rollouts that the labels were made from, in the same order",
            )
        self._row_index.check_texts(labels)
        return torch.from_numpy(rows)

    @checked
    def stream(
        self, site: Site | str, *, batch_size: int, seed: Seed, epochs: int = 1, buffer: int = BUFFER
    ) -> Iterator[Float[Tensor, "batch d_model"]]:
        """Batches in random order, every token once an epoch, reading long runs of each file and never all of
        them.

        Runs of 1024 tokens are drawn at random into a buffer, which is shuffled; half of it is given out
        before the next runs come in. Tokens of one run thus stay near each other unless the buffer holds
        everything: take the buffer large against a text. The order depends on the seed and on how many tokens
        there are, not on the site or the files: two streams with the same settings give the same tokens, a
        store's those of memory.

        Args:
            batch_size: tokens per batch; the last one of an epoch may be smaller.
            buffer: tokens held in memory, twice while they are shuffled.

        Raises:
            DataError: a size below 1. NonFiniteError: NaN or infinity. As `at` otherwise.
        """
        return shuffled(
            self.shards, self._stream_of(site), batch_size=batch_size, seed=seed, epochs=epochs, buffer=buffer
        )

    def check(self, host: Host | Trained) -> None:
        """Raise MismatchError where a host is not the model these come from, or its tokenizer has changed."""
        self.origin.check(host)

    def verify(self) -> None:
        """Read every file of a store. Raises CorruptFileError at the first that is not what was written."""
        for shard in self.shards:
            if isinstance(shard, FileShard):
                shard.verify()

    @checked
    def save(self, path: str | Path) -> None:
        """Write a store, which appears when it is complete.

        Raises:
            OutputError: it exists, cannot be written, or the disk is full. NonFiniteError: NaN or infinity.
        """
        save_store(Path(path), self.sites, self.origin, self.shards)

    @classmethod
    @checked
    def load(cls, path: str | Path, *, host: Host | None = None) -> Activations:
        """Read what `save`, or `capture(out=)`, wrote; activations stay on disk until they are asked for.

        Args:
            host: the model they must come from. None: it is not checked here.

        Raises:
            OutputError: nothing complete is there. CorruptFileError: a file is missing, truncated or damaged
                (its
            content is verified when it is first read). MismatchError: they are another model's.
        """
        if host is not None:
            check_type(host, Host, name="host", allowed="a Host, such as rm.load_pair(...).base")
        # absolute: shards are read later, from whatever directory the process is in by then
        activations = cls(*load_store(Path(path).expanduser().absolute()))
        if host is not None:
            activations.check(host)
            activations.origin.warn_if_old(path)
        return activations

    def _stream_of(self, site: Site | str) -> str:
        parsed = Site.parse(site)
        if parsed not in self.sites:
            raise UnknownNameError("captured site", str(site), map(str, self.sites))
        if self.codes_of is not None:
            raise MismatchError(
                f"of {parsed} the {self.codes_of.k} strongest features of {self.codes_of.coder!r} were "
                "kept, not the "
                "stream",
                do="read them with features() or codes(), or capture without keep=Keep(codes=)",
            )
        return str(parsed)

    def _all(self, name: str) -> Shaped[Tensor, "token ..."]:
        parts = [shard.values()[name] for shard in self.shards]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _take(self, name: str, tokens: Int[Tensor, " n"]) -> Shaped[Tensor, "n ..."]:
        tokens = row_numbers(tokens, self.n_tokens, of=self)
        if len(self.shards) == 1:
            return self.shards[0].values()[name][tokens]
        which = torch.bucketize(tokens, self._ends, right=True)
        first = self.shards[0].values()[name]
        out = torch.empty(len(tokens), first.shape[1], dtype=first.dtype)
        for number in which.unique().tolist():
            chosen = which == number
            start = int(self._ends[number - 1]) if number else 0
            out[chosen] = self.shards[number].values()[name][tokens[chosen] - start]
        return out

    @cached_property
    def _ends(self) -> Int[Tensor, " shard"]:
        return torch.tensor([shard.n_tokens for shard in self.shards]).cumsum(0)

    @cached_property
    def _row_index(self) -> RowIndex:
        return RowIndex(self.shards)

    def __repr__(self) -> str:
        form = (
            "" if self.codes_of is None else f", {self.codes_of.k} features of {self.codes_of.coder!r} each"
        )
        sites = ", ".join(map(str, self.sites))
        return f"Activations({self.n_tokens} tokens of {self.host_name!r} at {sites}{form})"
