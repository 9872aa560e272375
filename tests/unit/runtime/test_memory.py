"""Out of memory: halves, a warning, the same result, the same counts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch

from reasonmech.hosts.host import Host
from reasonmech.interventions import Direction, above, at, prompt, steer
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.batched.cells import Cell, CellGrid, run_cells
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.forward import forward
from reasonmech.runtime.memory import halving, is_out_of_memory
from reasonmech.runtime.pass_rows import pass_rows
from reasonmech.runtime.readout import Reading
from reasonmech.testing import tiny_host

TEXTS = [f"w{i + 1} w2 . w{2 * i + 3}" for i in range(9)]


@contextmanager
def room_for(host: Host, rows: int) -> Iterator[list[int]]:
    """Passes of more rows than this fail in the third block, when hooks of the first two have run."""
    sizes: list[int] = []

    def fail(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        sizes.append(len(args[0]))
        if len(args[0]) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    handle = host.layers[2].register_forward_pre_hook(fail)
    try:
        yield sizes
    finally:
        handle.remove()


def plan(host: Host) -> list:
    vector = Direction.along(
        torch.randn(host.d_model, generator=torch.Generator().manual_seed(0)), "resid_post.0"
    )
    return [steer(vector, 3.0, where=prompt(1), when=above(vector, 0.0))]


def test_forward_goes_on_in_halves_and_counts_nothing_twice() -> None:
    host = tiny_host()
    whole = forward(host, TEXTS, plan(host), receipt="none")
    with (
        room_for(host, 3) as sizes,
        pytest.warns(UserWarning, match="out of memory with 9 texts at once; going on with 4"),
    ):
        parts = forward(host, TEXTS, plan(host), receipt="none")
    assert max(sizes) == 9 and sizes[-1] <= 3
    assert all(torch.allclose(a, b, atol=3e-4) for a, b in zip(whole.logits, parts.logits, strict=True))
    assert whole.receipt is not None and parts.receipt is not None
    assert whole.receipt.lines == parts.receipt.lines and whole.receipt.lines[0].n_gated > 0


def test_generation_goes_on_in_halves_and_counts_nothing_twice() -> None:
    host, decode = tiny_host(), Decode(max_new_tokens=5)
    whole = generate(host, TEXTS, plan(host), decode=decode, progress=False, receipt="none")
    with room_for(host, 3), pytest.warns(UserWarning, match="out of memory with 9 rows at once"):
        parts = generate(host, TEXTS, plan(host), decode=decode, progress=False, receipt="none")
    assert [r.ids for r in whole] == [r.ids for r in parts]
    assert whole.receipt is not None and parts.receipt is not None
    assert whole.receipt.lines == parts.receipt.lines


def test_capture_goes_on_in_halves() -> None:
    host = tiny_host()
    whole = capture(host, TEXTS, ["resid_post.3"], progress=False)
    with room_for(host, 3), pytest.warns(UserWarning, match="out of memory with 9 texts at once"):
        parts = capture(host, TEXTS, ["resid_post.3"], progress=False)
    torch.testing.assert_close(whole.at("resid_post.3"), parts.at("resid_post.3"), atol=1e-5, rtol=0)


def test_the_clean_pass_of_cells_goes_on_in_halves() -> None:
    class Says:
        name, unit = "says", "logits"

        def continuations(self, host: Host, n_texts: int) -> list[list[tuple[int, ...]]]:
            return [[] for _ in range(n_texts)]

        def value(self, reading: Reading) -> torch.Tensor:
            return reading.logits[:, 5]

    host = tiny_host()
    vector = Direction.along(torch.ones(host.d_model), "resid_post.0")
    cells = [Cell(i, (steer(vector, 3.0, where=at(2)),)) for i in range(9)]
    whole = run_cells(host, CellGrid(pass_rows(host, TEXTS), cells), Says())
    with room_for(host, 3), pytest.warns(UserWarning, match="out of memory with 9 clean texts at once"):
        parts = run_cells(host, CellGrid(pass_rows(host, TEXTS), cells), Says())
    torch.testing.assert_close(whole.value, parts.value, atol=3e-4, rtol=0)


def test_halving_loses_no_item_when_later_ones_need_more_memory() -> None:
    def run(items: Sequence[int]) -> Sequence[int]:
        if sum(items) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return items

    sizes = [1] * 8 + [2] * 8
    with pytest.warns(UserWarning, match="out of memory"):
        results, fitted = halving(sizes, run, what="item")
    assert results == sizes and fitted == 2


def test_what_does_not_fit_alone_and_what_is_another_error_is_raised() -> None:
    host = tiny_host()
    with room_for(host, 0), pytest.raises(MemoryError, match="one text alone"):
        forward(host, TEXTS[:1])

    def bug(items: object) -> list[int]:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        halving([1, 2, 3], bug, what="item")
    assert is_out_of_memory(
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    )
    assert not is_out_of_memory(ValueError("allocate memory"))
