"""Keyed Gumbel noise: distribution, independence of the batch, exactness of sampling."""

import math

import torch

from reasonmech.runtime.decoding.decode import choose
from reasonmech.runtime.decoding.noise import gumbel, row_key


def keys(n: int) -> torch.Tensor:
    return torch.tensor([row_key(0, f"p/{i}", 0) for i in range(n)])


def test_a_row_has_the_same_noise_in_any_batch() -> None:
    noise_keys = keys(5)
    whole = gumbel(noise_keys, torch.arange(5), 100)
    rows = torch.cat([gumbel(noise_keys[i : i + 1], torch.tensor([i]), 100) for i in range(5)])
    assert torch.equal(whole, rows)
    assert torch.equal(gumbel(noise_keys, torch.arange(5), 60), whole[:, :60])


def test_noise_changes_with_seed_problem_sample_position_and_token() -> None:
    assert len({row_key(0, "a", 0), row_key(1, "a", 0), row_key(0, "b", 0), row_key(0, "a", 1)}) == 4
    at = gumbel(keys(1).expand(3), torch.arange(3), 50)
    assert at.unique().numel() == 150


def test_noise_is_standard_gumbel() -> None:
    draws = gumbel(keys(400), torch.arange(400) % 7, 500).double()
    assert torch.isfinite(draws).all()
    assert abs(draws.mean().item() - 0.57722) < 0.01  # standard error 0.003
    assert abs(draws.var().item() - math.pi**2 / 6) < 0.03
    for cut in (-1.0, 0.0, 2.0, 6.0):
        share = math.exp(-math.exp(-cut))
        assert abs((draws < cut).double().mean().item() - share) < 5 * math.sqrt(
            share * (1 - share) / draws.numel()
        )
    neighbours = torch.corrcoef(torch.stack([draws[:, :-1].flatten(), draws[:, 1:].flatten()]))[0, 1]
    assert abs(neighbours.item()) < 0.012


def test_sampling_follows_the_softmax_at_its_temperature() -> None:
    logits, n = torch.tensor([0.0, 1.0, 2.0, -1.0]), 20000
    chosen = choose(logits.expand(n, 4), temperature=0.7, keys=keys(n), position=torch.full((n,), 11)).tokens
    share = torch.bincount(chosen, minlength=4) / n
    assert torch.allclose(share, (logits / 0.7).softmax(-1), atol=0.02)
    assert (choose(logits.expand(n, 4), temperature=0.0, keys=keys(n), position=keys(n)).tokens == 2).all()
