"""A world with a planted answer: activations whose features are known, without any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from reasonmech.labels import Labels
from reasonmech.site import Site

SITE = Site("resid_post", 2)


@dataclass(frozen=True, eq=False)
class PlantedCoder:
    """d_sae orthogonal features of a d_in = d_sae stream: encode is exact."""

    d_sae: int = 64
    name: str = "planted"
    site: Site = SITE
    model_hash: str | None = "host-a"

    @property
    def d_in(self) -> int:
        return self.d_sae

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def encode(self, x: Tensor) -> Tensor:
        return torch.relu(x)

    def decode(self, features: Tensor) -> Tensor:
        return features

    def rows(self, indices: Sequence[int]) -> Tensor:
        return torch.eye(self.d_sae)[list(indices)]


@dataclass(frozen=True, eq=False)
class PlantedActivations:
    """Stream values [row, d_model] at every row of `index`."""

    x: Tensor
    index: pd.DataFrame
    host_hash: str = "host-a"
    host_name: str = "planted"
    codes_of: None = None

    def rows(self, site: Site, labels: Labels) -> Tensor:
        assert site == SITE
        rows = pd.Series(np.arange(len(self.index)), [self.index["rollout"], self.index["position"]])
        return self.x[rows.loc[list(zip(labels.rollout, labels.position, strict=True))].to_numpy(copy=True)]


@dataclass(frozen=True, eq=False)
class World:
    """Problems with several opportunities each; `signal` anticipates, `position_bound` only follows
    position."""

    n_problems: int = 120
    per_problem: int = 20
    d: int = 64
    seed: int = 0
    signal: int = 7
    position_bound: int = 11
    strength: float = 0.8
    labels: Labels = field(init=False)
    acts: PlantedActivations = field(init=False)
    true_hazard: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        n = self.n_problems * self.per_problem
        problem = np.repeat(np.arange(self.n_problems), self.per_problem)
        position = np.tile(np.arange(self.per_problem) * 6 + 11, self.n_problems)
        late = position > position.mean()
        ease = 0.5 * rng.normal(size=self.n_problems)[problem]
        hidden = rng.random(n) < 0.3
        logit = -1.5 + ease + 1.5 * late + 3.0 * self.strength * hidden
        hazard = 1 / (1 + np.exp(-logit))
        x = np.where(rng.random((n, self.d)) < 0.1, rng.gamma(3.0, 1.0, (n, self.d)), -0.1)
        shared = rng.random((self.n_problems, self.d)) < 0.2  # features that come and go with the problem
        x[:, : self.d // 2] = np.where(shared[problem], x, -0.1)[:, : self.d // 2]
        x[:, self.signal] = np.where(hidden, 1 + rng.random(n), -0.1)
        x[:, self.position_bound] = np.where(late, 1 + rng.random(n), -0.1)
        index = pd.DataFrame(
            {
                "rollout": problem,
                "problem": np.char.add("p", problem.astype(str)),
                "position": position,
                "token": 3,
            }
        )
        labels = Labels(
            "check",
            "anticipates",
            problem,
            position,
            rng.random(n) < hazard,
            np.char.add("p", problem.astype(str)),
        )
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "acts", PlantedActivations(torch.from_numpy(x).float(), index))
        object.__setattr__(self, "true_hazard", hazard)


@pytest.fixture(scope="package")
def make_world() -> type[World]:
    return World


@pytest.fixture(scope="package")
def world() -> World:
    return World()


@pytest.fixture(scope="package")
def make_coder() -> type[PlantedCoder]:
    return PlantedCoder


@pytest.fixture(scope="package")
def coder() -> PlantedCoder:
    return PlantedCoder()
