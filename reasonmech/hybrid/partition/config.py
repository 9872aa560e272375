"""PartitionConfig: how the thinking model's sentences are parted into categories."""

from __future__ import annotations

from pydantic import Field, field_validator

from reasonmech.errors import ConfigError
from reasonmech.ranges import Seed
from reasonmech.settings import Settings
from reasonmech.site import Site


class PartitionConfig(Settings):
    """How sentences of the thinking model are parted into categories."""

    n: int = Field(10, ge=2, description="categories")
    site: str = Field(
        "",
        description="of the thinking model, a resid_post; empty: after the pair's SAE layer, else in the "
        "middle",
    )
    steps: int = Field(1000, ge=1, description="steps of the sentence SAE's training")
    batch_size: int = Field(256, ge=1, description="sentences of a step")
    seed: Seed = Field(0, description="of k-means' starts and of random directions")

    @field_validator("site")
    @classmethod
    def _is_between_blocks(cls, site: str) -> str:
        if site and Site.parse(site).kind != "resid_post":
            raise ConfigError(f"a partition at {site}", allowed="a resid_post: it is read in lockstep")
        return site
