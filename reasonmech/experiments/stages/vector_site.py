"""Where a stage trains category vectors: the site, and in memory, or where that is much from a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from reasonmech.errors import ConfigError
from reasonmech.experiments.stages.base import StageContext
from reasonmech.hosts import ModelPair
from reasonmech.hybrid import OnDisk
from reasonmech.rollout import Rollout
from reasonmech.runtime.pass_bytes import kv_bytes

IN_MEMORY: Final = 2**31  # bytes of keys and values: of SmolLM2 in float32 46,000 tokens


@contextmanager
def vector_site(context: StageContext, site: str, rollouts: Sequence[Rollout]) -> Iterator[str | OnDisk]:
    """The site alone where the keys and values of the rollouts take up to 2 GB, whatever the machine; beyond
    it a store in the stage's folder, which is gone afterwards."""
    n_tokens = sum(len(rollout.all_ids) for rollout in rollouts)
    if n_tokens * kv_bytes(context.pair.base) <= IN_MEMORY:
        yield site
        return
    with TemporaryDirectory(dir=context.out) as directory:
        yield OnDisk(site, Path(directory) / "vectors")


def steering_site(pair: ModelPair) -> str:
    """After the pair's steering layer. Raises ConfigError where the pair has none."""
    if pair.steering_layer is None:
        raise ConfigError(
            f"pair {pair.name!r} has no steering layer",
            do="give the stage `arms` a site, such as resid_post.1",
        )
    return f"resid_post.{pair.steering_layer}"
