"""Partition: categories of the thinking model's stream, and the selector that reads them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.digest import ModelIdentity, check_model
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hybrid.partition.config import PartitionConfig
from reasonmech.hybrid.partition.encoders import Encoder, partitions, sentence_means
from reasonmech.hybrid.parts import Moment
from reasonmech.rollout import Rollouts
from reasonmech.site import Site
from reasonmech.tasks import parse

NONE: Final = "none"  # where no latent of a sentence SAE is active


@final
@checked
@dataclass(frozen=True, eq=False)
class Partition:
    """Categories of the thinking model's stream at a token, of which none has a name but its number.

    Attributes:
        kind: how they were learnt, a key of `partitions`.
        site: of the thinking model.
        made_for: the thinking model; a hybrid with another one is refused.
        shares: of the sentences they were learnt from, by category.
        digest: of what they were learnt from, and how it was parted.
    """

    kind: str
    site: Site
    encoder: Encoder
    made_for: ModelIdentity | None
    shares: tuple[float, ...]
    digest: str

    def __repr__(self) -> str:
        return f"Partition({self.kind!r}, {self.encoder.n} categories at {self.site})"

    @property
    def names(self) -> tuple[str, ...]:
        """Numbers of the categories, and the one of what belongs to none."""
        return (*(f"{self.kind}/{i}" for i in range(self.encoder.n)), NONE)

    def categories(self, stream: Float[Tensor, "row d_model"]) -> Int[Tensor, " row"]:
        """Category of each row, CPU; the last one for none."""
        strongest = self.encoder.categories(stream.float().cpu())
        return torch.where(strongest < 0, self.encoder.n, strongest)

    def check(self, thinking: Host) -> None:
        """Raise MismatchError where the thinking model is another one than it was learnt on."""
        check_model(
            "the partition was learnt on weights",
            self.made_for,
            thinking.model_identity(),
            model=f"the thinking model {thinking.name!r}",
            do="fit one on this model: rm.hybrid.fit_partition(pair.thinking, rollouts, kind=...)",
        )


@checked
def fit_partition(
    thinking: Host, rollouts: Rollouts, *, kind: str = "sentence_sae", config: PartitionConfig | None = None
) -> Partition:
    """Part the thinking model's stream into categories, on sentences that it wrote.

    Args:
        rollouts: of the thinking model, on fitting problems.
        kind: "sentence_sae", "kmeans", "random", or one that a plug-in registers.

    Raises:
        UnknownNameError: no such kind or site.
        DataError: fewer sentences than categories, or than one batch of the SAE's training.
    """
    settings, make = config or PartitionConfig(), partitions.get(kind)
    at = thinking.check_site(settings.site or f"resid_post.{(thinking.n_layers - 1) // 2}")
    means = sentence_means(thinking, rollouts, parse(rollouts), at)
    if len(means.rows) < settings.n:
        raise DataError(
            f"{len(means.rows)} sentences for {settings.n} categories", do="use more rollouts, or a smaller n"
        )
    encoder = make(means, settings)
    strongest = encoder.categories(means.rows)
    labels = torch.where(strongest < 0, encoder.n, strongest)
    shares = (torch.bincount(labels, minlength=encoder.n + 1) / len(labels)).tolist()
    digest = hashlib.sha256(means.rows.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
    return Partition(kind, at, encoder, thinking.model_identity(), tuple(shares), digest)


@final
@dataclass(frozen=True, eq=False)
class OfPartition:
    """Selector: the category of the thinking model's stream at the token before the one that is due."""

    partition: Partition

    @property
    def categories(self) -> tuple[str, ...]:
        return self.partition.names

    @property
    def reads_thinking_at(self) -> Site:
        return self.partition.site

    def check_thinking(self, thinking: Host) -> None:
        self.partition.check(thinking)

    def select(self, moment: Moment) -> Int[Tensor, " batch"]:
        rows = torch.arange(len(moment.category))
        return self.partition.categories(moment.thinking_stream(rows, self.partition.site))
