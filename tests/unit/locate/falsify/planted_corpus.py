"""Planted texts as a labelled corpus: a stream that a coder of the planted features reads exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reasonmech import simulators as sim
from reasonmech.labels import Labels
from reasonmech.locate import Search
from reasonmech.locate.falsify import Candidates, Corpus
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.site import Site

SITE = Site("resid_post", 0)
PLANTED = sim.one_of_each(seed=3)
NAMES = [feature.name for feature in PLANTED.features]


@dataclass(frozen=True, eq=False)
class ExactCoder:
    """Reads the features out of a stream that holds nothing else."""

    name: str = "planted"
    site: Site = SITE
    model_hash: str | None = "host-a"
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    def read(self, x: Tensor, indices: Sequence[int]) -> Tensor:
        return x[:, list(indices)]


@dataclass(frozen=True, eq=False)
class ExactActivations:
    x: Tensor
    index: pd.DataFrame
    length: int
    host_hash: str = "host-a"

    def rows(self, site: Site, labels: Labels) -> Tensor:
        assert site == SITE
        return self.x[torch.from_numpy(labels.rollout * self.length + labels.position)]


def candidates(*names: str) -> Candidates:
    return Candidates(tuple(NAMES.index(name) for name in names), np.zeros(len(names)))


def corpus(n: int = 60, *, seed: int = 0) -> Corpus:
    """Positive where the behaviour's context is on, at every third token."""
    texts = sim.planted_texts(PLANTED, n=n, seed=seed)
    length = PLANTED.text.length
    token, flat = texts.places.token, texts.activations.reshape(-1, len(NAMES))
    index = pd.DataFrame(
        {
            "rollout": np.repeat(np.arange(n), length),
            "position": np.tile(np.arange(length), n),
            "token": token.ravel(),
        }
    )
    acts = ExactActivations(torch.from_numpy(flat), index, length)
    rollouts = [
        Rollout(Problem(f"p{i}", "", ""), 0, tuple(row.tolist()), (), (), (), "eos", "")
        for i, row in enumerate(token)
    ]
    labels = labels_where(texts.places.context)
    return Corpus(acts, labels, rollouts, Search(draws=300))  # pyright: ignore[reportArgumentType]


def labels_where(positive: np.ndarray) -> Labels:
    n, length = positive.shape
    rollout, position = (a.ravel() for a in np.meshgrid(np.arange(n), np.arange(0, length, 3), indexing="ij"))
    problem = np.array([f"p{r}" for r in rollout])
    return Labels("planted", "recognises", rollout, position, positive[rollout, position], problem)
