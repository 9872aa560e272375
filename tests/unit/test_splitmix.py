"""SplitMix64: the published outputs, and the same bits of numpy and of torch."""

import numpy as np
import pytest
import torch

from reasonmech.splitmix import GOLDEN, logical_shift, mix_array, mix_tensor

# First five outputs from seed 1234567, as on https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
SEED = 1234567
PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]
EXTREMES = np.array(
    [0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1, 2**64 - GOLDEN],
    dtype=np.uint64,
)


def signed(bits: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(bits.view(np.int64).copy())


def test_both_backends_give_the_published_outputs() -> None:
    starts = np.array([(SEED + i * GOLDEN) % 2**64 for i in range(5)], dtype=np.uint64)
    assert mix_array(starts).tolist() == PUBLISHED
    assert mix_tensor(signed(starts)).numpy().view(np.uint64).tolist() == PUBLISHED


@pytest.mark.parametrize(
    "bits",
    [EXTREMES, np.random.default_rng(0).integers(0, 2**64, (100, 100), dtype=np.uint64)],
    ids=["extremes", "random"],
)
def test_numpy_and_torch_agree_on_every_bit(bits: np.ndarray) -> None:
    assert torch.equal(mix_tensor(signed(bits)), signed(mix_array(bits)))


@pytest.mark.parametrize("n", [1, 11, 30, 63])
def test_a_logical_shift_fills_up_with_zeros(n: int) -> None:
    assert torch.equal(logical_shift(signed(EXTREMES), n), signed(EXTREMES >> np.uint64(n)))


@pytest.mark.filterwarnings("error")
def test_a_single_number_wraps_without_a_warning() -> None:
    assert int(mix_array(np.array(0, dtype=np.uint64))) == 0xE220A8397B1DCDAF
