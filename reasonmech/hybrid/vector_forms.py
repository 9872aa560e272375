"""Forms of vectors: what is added to the stream of a steered position, by its category."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import softplus

from reasonmech.registry import Registry

HIDDEN: Final = 512


class VectorScale(nn.Module):
    """How much of each category's vector is added, read off the stream: softplus(MLP(x)), one head a
    category (the published second version of arXiv 2510.07364)."""

    def __init__(self, d_model: int, n: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.trunk = nn.Linear(d_model, HIDDEN, dtype=torch.float32)
            self.heads = nn.Linear(HIDDEN, n, dtype=torch.float32)

    def forward(
        self, x: Float[Tensor, "batch d_model"], category: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch 1"]:
        """The factor of each row's category."""
        heads = self.heads(nn.functional.gelu(self.trunk(x.float())))
        return softplus(heads.gather(1, category[:, None].to(heads.device)))


class VectorForm(nn.Module):
    """Vectors while they are trained, all of them 0 at first.

    Attributes:
        scale: how much of a vector is added, None for all of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale: VectorScale | None = None

    def rows(self) -> Float[Tensor, "category d_model"]:
        """The vector of every category."""
        raise NotImplementedError

    def forward(
        self, x: Float[Tensor, "batch d_model"], category: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch d_model"]:
        """What is added to each row, float32."""
        rows = self.rows()
        added = rows[category.to(rows.device)]
        return added if self.scale is None else self.scale(x, category) * added


class ByCategory(VectorForm):
    """One vector per category."""

    def __init__(self, n: int, d_model: int, seed: int = 0) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(n, d_model, dtype=torch.float32))

    def rows(self) -> Float[Tensor, "category d_model"]:
        return self.table


class Shared(VectorForm):
    """One vector, whatever the category: what steering does that no category decides."""

    def __init__(self, n: int, d_model: int, seed: int = 0) -> None:
        super().__init__()
        self.n, self.shared = n, nn.Parameter(torch.zeros(d_model, dtype=torch.float32))

    def rows(self) -> Float[Tensor, "category d_model"]:
        return self.shared.expand(self.n, -1)


class WithBias(ByCategory):
    """A vector per category and one that all share (the published first version)."""

    def __init__(self, n: int, d_model: int, seed: int = 0) -> None:
        super().__init__(n, d_model)
        self.shared = nn.Parameter(torch.zeros(d_model, dtype=torch.float32))

    def rows(self) -> Float[Tensor, "category d_model"]:
        return self.table + self.shared


class Scaled(ByCategory):
    """A vector per category, as much of it as a network reads off the stream (the published second one)."""

    def __init__(self, n: int, d_model: int, seed: int = 0) -> None:
        super().__init__(n, d_model)
        self.scale = VectorScale(d_model, n, seed)


forms: Registry[Callable[[int, int, int], VectorForm]] = Registry("form of vectors")
"""Kind -> what makes vectors of n categories, d_model wide, from a seed."""

forms.register("vectors")(ByCategory)
forms.register("shared")(Shared)
forms.register("bias")(WithBias)
forms.register("scaled")(Scaled)
