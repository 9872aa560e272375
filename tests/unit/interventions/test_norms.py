"""A direction of a vector of any size: made, or refused by its norm."""

from __future__ import annotations

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import BindError


@pytest.mark.parametrize(
    ("size", "dtype", "norm"),
    [
        (1e38, torch.float32, r"e\+38"),
        (1e20, torch.float32, r"e\+20"),
        (1e-25, torch.float32, "e-25"),
        (1e-45, torch.float32, "e-45"),
        (1e300, torch.float64, r"e\+300"),
        (1e-300, torch.float64, "e-300"),
        (1e30, torch.bfloat16, r"e\+30"),
    ],
)
def test_a_norm_whose_squares_no_number_holds_is_named(size: float, dtype: torch.dtype, norm: str) -> None:
    vector = torch.full((32,), size, dtype=dtype)
    with pytest.raises(BindError, match=rf"a vector of norm \S+{norm}") as caught:
        rm.Direction.along(vector, "resid_post.1")
    assert "vector / vector.abs().max()" in caught.value.do
    same = rm.Direction.along(vector / vector.abs().max(), "resid_post.1").vector.double()
    assert torch.allclose(same, torch.full((32,), 32**-0.5, dtype=torch.float64), rtol=4e-3)  # of bfloat16
    with pytest.raises(BindError, match=rf"norm \S+{norm}"):
        rm.Direction(vector, rm.Direction.along(torch.ones(32), "resid_post.1").site)


def test_the_zero_vector_has_no_direction() -> None:
    with pytest.raises(BindError, match="the zero vector"):
        rm.Direction.along(torch.zeros(32), "resid_post.1")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_half_precision_vector_has_a_direction(dtype: torch.dtype) -> None:
    """Its norm is rounded in half precision: half of all bfloat16 vectors were said to be no unit vector."""
    for seed in range(200):
        vector = torch.randn(64, generator=torch.Generator().manual_seed(seed)).to(dtype)
        unit = rm.Direction.along(vector, "resid_post.1").vector
        assert unit.dtype == dtype
        assert torch.allclose(unit.double(), vector.double() / vector.double().norm(), rtol=8e-3)
