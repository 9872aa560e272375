"""Encoders: what finds the category of a row of the thinking model's stream, learnt from its sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.coders import load_coder_config
from reasonmech.hosts import Host
from reasonmech.hybrid.partition.config import PartitionConfig
from reasonmech.registry import Registry
from reasonmech.rollout import Rollouts, Trace
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.capture import capture
from reasonmech.site import Site
from reasonmech.taxonomies import Sentences, SentenceTaxonomy, train_taxonomies


class SentenceMeans(NamedTuple):
    """Mean activations of the sentences that a partition is learnt from.

    Attributes:
        acts, sentences: where they are from, for a training that reads them itself.
        rows: [sentence, d_model], float32.
        site: of the thinking model.
    """

    acts: Activations
    sentences: Sentences
    rows: Float[Tensor, "sentence d_model"]
    site: Site


class Encoder(Protocol):
    """Categories of rows of a stream, by number."""

    @property
    def n(self) -> int: ...

    def categories(self, rows: Float[Tensor, "row d_model"]) -> Int[Tensor, " row"]:
        """-1 for none."""
        ...


@final
@dataclass(frozen=True, eq=False)
class Nearest:
    """The direction that a row, centred and of norm 1, is nearest to.

    Attributes:
        directions: [category, d_model], each of norm 1.
    """

    centre: Float[Tensor, " d_model"]
    directions: Float[Tensor, "category d_model"]

    @property
    def n(self) -> int:
        return len(self.directions)

    def categories(self, rows: Float[Tensor, "row d_model"]) -> Int[Tensor, " row"]:
        unit = torch.nn.functional.normalize(rows.float().cpu() - self.centre, dim=-1)
        return (unit @ self.directions.T).argmax(-1)


partitions: Registry[Callable[[SentenceMeans, PartitionConfig], Encoder]] = Registry("partition")
"""Kind -> what parts sentences."""


@partitions.register("sentence_sae")
def _sentence_sae(means: SentenceMeans, config: PartitionConfig) -> SentenceTaxonomy:
    """The strongest latent of a TopK SAE on sentence means (arXiv 2510.07364)."""
    settings = load_coder_config("taxonomy").model_copy(
        update={"steps": config.steps, "batch_size": config.batch_size}
    )
    settings = settings.model_copy(update={"k": min(settings.k or 1, config.n)})
    trained = train_taxonomies(
        means.acts,
        means.sentences,
        site=means.site,
        sizes=[config.n],
        config=settings,
        progress=False,
    )
    return trained[config.n]


@partitions.register("kmeans")
def _kmeans(means: SentenceMeans, config: PartitionConfig) -> Nearest:
    """The nearest centre of k-means on centred sentence means of norm 1."""
    from sklearn.cluster import KMeans

    centre, unit = _centred(means.rows)
    starts: dict[str, Any] = {"n_init": 10, "random_state": config.seed}  # sklearn types n_init as a string
    fitted = KMeans(config.n, **starts).fit(unit.numpy())
    centres = torch.from_numpy(fitted.cluster_centers_).float()
    return Nearest(centre, torch.nn.functional.normalize(centres, dim=-1))


@partitions.register("random")
def _random(means: SentenceMeans, config: PartitionConfig) -> Nearest:
    """The nearest of random directions: categories of the stream that know nothing of sentences."""
    centre, unit = _centred(means.rows)
    draws = torch.randn(config.n, unit.shape[1], generator=torch.Generator().manual_seed(config.seed))
    return Nearest(centre, torch.nn.functional.normalize(draws.float(), dim=-1))


def _centred(
    rows: Float[Tensor, "sentence d_model"],
) -> tuple[Float[Tensor, " d_model"], Float[Tensor, "sentence d_model"]]:
    centre = rows.mean(0)
    return centre, torch.nn.functional.normalize(rows - centre, dim=-1)


def sentence_means(thinking: Host, rollouts: Rollouts, traces: Sequence[Trace], site: Site) -> SentenceMeans:
    """Mean activations of every sentence, read from the rollouts."""
    sentences = Sentences.of_traces(traces)
    acts = capture(thinking, rollouts, [site], progress=False)
    return SentenceMeans(acts, sentences, sentences.means(acts, site=site).float(), site)
