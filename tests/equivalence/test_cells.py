"""Packed cells, recomputed from their first edit on, against `forward` of each text alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import DataError, NoChangeError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.interventions import (
    Direction,
    Features,
    Hooks,
    Intervention,
    Whole,
    ablate,
    above,
    at,
    bind,
    clamp,
    everywhere,
    patch,
    prompt,
    steer,
)
from reasonmech.runtime.batched.cells import Cell, CellGrid, run_cells
from reasonmech.runtime.batched.prefix import Prefix
from reasonmech.runtime.forward import forward
from reasonmech.runtime.pass_rows import PassRow, pass_rows
from reasonmech.runtime.passes import run_passes
from reasonmech.runtime.readout import Reading
from reasonmech.testing import ARCHITECTURES, HEAD_GAIN, tiny_coder, tiny_host

TEXTS = ["w1 w2 . w3 w8", "w9 w1 w22", "w5 w5 w6 w40 w2 w7", "w3 w3 w4"]


@dataclass(frozen=True)
class Says:
    """Log-odds of saying one of some runs of tokens, over the head's gain."""

    runs: tuple[tuple[int, ...], ...] = ((7,), (3, 9), (4, 4, 11))
    name: str = "says"
    unit: str = "nats"

    def continuations(self, host: Host, n_texts: int) -> Sequence[Sequence[tuple[int, ...]]]:
        return [self.runs[: 1 + i % len(self.runs)] for i in range(n_texts)]

    def value(self, reading: Reading) -> Float[Tensor, " text"]:
        score = reading.logp.logsumexp(-1) + reading.logits[:, 5]
        return (score + 0.1 * reading.rows) / HEAD_GAIN


def alone(
    host: Host, text: str, number: int, plan: list[Intervention], readout: Says
) -> tuple[float, int, int]:
    """The definition: one text, run by itself with each continuation."""
    ids = host.encode(text)
    runs = readout.continuations(host, number + 1)[number]
    plan = [intervention.allow_no_change() for intervention in plan]  # a gate may stay shut in one text
    first = forward(host, [ids], plan, receipt="none")
    logp = []
    for run in runs:
        longer = PassRow((*ids, *run), len(ids), "text")
        with torch.no_grad():
            passes = dict(run_passes(host, [longer], hooks=Hooks(bind(plan, host)), numbers=[number]))
        lines = passes[0][len(ids) - 1 : -1].log_softmax(-1)
        logp.append(sum(float(line[token]) for line, token in zip(lines, run, strict=True)))
    reading = Reading(first.logits[0][-1:], torch.tensor([logp]), torch.tensor([number]))
    lines = first.receipt.lines if first.receipt else ()
    return float(readout.value(reading)), sum(x.n_masked for x in lines), sum(x.n_gated for x in lines)


def direction(seed: int, site: str) -> Direction:
    return Direction.along(torch.randn(32, generator=torch.Generator().manual_seed(seed)), site)


def plans(host: Host) -> list[list[Intervention]]:
    """Every way in which cells meet in a batch: same and other sites, edits shared or not, two at a site,
    none."""
    features, last = Features(tiny_coder(host), (3, 5)), direction(1, f"resid_post.{host.n_layers - 1}")
    early, source = (
        direction(0, "resid_post.0"),
        3 * torch.randn(7, 32, generator=torch.Generator().manual_seed(4)),
    )
    shared = clamp(features, 6.0)
    return [
        [steer(early, 4.0, where=at(1))],
        [shared],
        [patch(Whole("resid_post.1"), source, where=at(2))],
        [patch(Whole("resid_post.1"), source, where=at(0, 2))],
        [ablate(Whole("mlp_out.1"), where=prompt(-2))],
        [steer(last, 9.0, where=prompt(-1))],
        [
            steer(early, 4.0, where=at(1)),
            clamp(features, 2.0),
            ablate(direction(2, "resid_post.1"), where=prompt(1)),
        ],
        [ablate(direction(2, "resid_post.1")), shared],
        [steer(direction(3, "resid_pre.0"), 5.0, where=prompt(1, 2))],
        [steer(direction(5, "resid_post.1"), 7.0, when=above(early, 0.0))],
        [],
    ]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_packed_cells_are_forward_of_each_text_alone(arch: str) -> None:
    host, readout = tiny_host(arch), Says()
    weights = {name: tensor.clone() for name, tensor in host.model.state_dict().items()}
    texts = TEXTS[:3]
    cells = [Cell(text, tuple(plan)) for plan in plans(host) for text in range(len(texts))]
    grid = CellGrid(pass_rows(host, texts), cells)
    tables = {batch_rows: run_cells(host, grid, readout, batch_rows=batch_rows) for batch_rows in (3, 128)}
    clean = [alone(host, text, i, [], readout)[0] for i, text in enumerate(texts)]
    changed = 0
    for number, cell in enumerate(cells):
        value, n_masked, n_gated = alone(host, texts[cell.text], cell.text, list(cell.plan), readout)
        for batch_rows, table in tables.items():
            what = (batch_rows, number, cell.plan)
            assert float(table.value[number]) == pytest.approx(value, abs=2e-5), what
            assert int(table.n_masked[number]) >= n_masked and int(table.n_gated[number]) >= n_gated, what
        changed += abs(value - clean[cell.text]) > 1e-3
    assert changed > len(cells) // 2
    assert all(torch.equal(tensor, weights[name]) for name, tensor in host.model.state_dict().items())
    assert all("forward" not in block.__dict__ for block in host.layers)


def test_counts_are_those_of_the_text_when_nothing_is_appended() -> None:
    host, readout = tiny_host(), Says(runs=((7,),))
    gate = above(direction(0, "resid_post.0"), 0.0)
    plan = [steer(direction(5, "resid_post.1"), 7.0, where=prompt(1), when=gate)]
    table = run_cells(
        host, CellGrid(pass_rows(host, TEXTS), [Cell(i, tuple(plan)) for i in range(4)]), readout
    )
    expected = [alone(host, text, i, plan, readout)[1:] for i, text in enumerate(TEXTS)]
    assert list(zip(table.n_masked.tolist(), table.n_gated.tolist(), strict=True)) == expected
    assert 0 < int(table.n_gated.sum()) < int(table.n_masked.sum())


@cache
def cells_of_llama() -> tuple[Host, dict[tuple[int, int], Cell]]:
    """A host, and a cell for every text and plan."""
    host = tiny_host()
    texts = range(len(TEXTS))
    return host, {(text, i): Cell(text, tuple(plan)) for i, plan in enumerate(plans(host)) for text in texts}


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10)), min_size=1, max_size=12),
    st.integers(1, 16),
)
def test_a_cell_does_not_depend_on_its_batch(chosen: list[tuple[int, int]], batch_rows: int) -> None:
    (host, every_cell), readout = cells_of_llama(), Says()
    cells = [every_cell[one] for one in chosen]
    together = run_cells(host, CellGrid(pass_rows(host, TEXTS), cells), readout, batch_rows=batch_rows)
    for number, cell in enumerate(cells):
        one = run_cells(host, CellGrid(pass_rows(host, TEXTS), [cell]), readout)
        assert float(one.value[0]) == pytest.approx(float(together.value[number]), abs=2e-5)


def test_blocks_below_and_columns_before_the_first_edit_do_not_run() -> None:
    host = tiny_host()
    ran: list[tuple[int, int]] = []
    handles = [
        block.mlp.register_forward_hook(lambda m, args, out, i=i: ran.append((i, out.shape[1])))
        for i, block in enumerate(host.layers)
    ]
    texts, cell = (
        pass_rows(host, TEXTS[2:3]),
        Cell(0, (steer(direction(0, "resid_post.1"), 4.0, where=at(4)),)),
    )
    run_cells(host, CellGrid(texts, [cell]), Says(runs=((7,),)))
    for handle in handles:
        handle.remove()
    assert ran == [(i, 6) for i in range(host.n_layers)] + [(i, 2) for i in range(2, host.n_layers)]


def test_a_short_memory_halves_the_batch_says_so_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    host, readout = tiny_host(), Says(runs=((7,),))
    cells = [Cell(i % 4, (steer(direction(i, "resid_post.1"), 4.0),)) for i in range(12)]
    texts = pass_rows(host, TEXTS)
    expected = run_cells(host, CellGrid(texts, cells), readout)
    run, sizes = Prefix.run, []

    def small(self: Prefix, rows: Tensor, *, below: int, start: int, last_logits: int) -> Tensor:
        sizes.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, rows, below=below, start=start, last_logits=last_logits)

    monkeypatch.setattr(Prefix, "run", small)
    with pytest.warns(UserWarning, match="out of memory with 12 cells at once; going on with 6"):
        table = run_cells(host, CellGrid(texts, cells), readout)
    assert torch.allclose(table.value, expected.value, atol=2e-5) and torch.equal(
        table.n_gated, expected.n_gated
    )
    assert sizes == [12, 6, 3, 3, 3, 3]


def test_one_cell_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    host = tiny_host()

    def none(self: Prefix, rows: Tensor, *, below: int, start: int, last_logits: int) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Prefix, "run", none)
    with pytest.raises(MemoryError, match="one cell alone"):
        run_cells(
            host,
            CellGrid(pass_rows(host, TEXTS), [Cell(0, (steer(direction(0, "resid_post.1"), 1.0),))]),
            Says(),
        )


def test_cells_without_a_token_a_text_or_a_finite_value_are_refused() -> None:
    host, texts = tiny_host(), pass_rows(tiny_host(), TEXTS)
    vector = steer(direction(0, "resid_post.1"), 4.0, where=everywhere())
    with pytest.raises(NoChangeError, match=r"names no token of text 1"):
        run_cells(
            host,
            CellGrid(
                texts, [Cell(1, (steer(direction(0, "resid_post.1"), 1.0, where=at(per_row=[(0,), ()])),))]
            ),
            Says(),
        )
    with pytest.raises(DataError, match="position 4; text 1 has 3 tokens"):
        run_cells(
            host, CellGrid(texts, [Cell(1, (steer(direction(0, "resid_post.1"), 1.0, where=at(4)),))]), Says()
        )
    with pytest.raises(DataError, match="cell 0 has text 9"):
        run_cells(host, CellGrid(texts, [Cell(9, (vector,))]), Says())
    with pytest.raises(DataError, match="continuation"):
        run_cells(host, CellGrid(texts, [Cell(0, (vector,))]), Says(runs=((),)))
    huge = steer(Whole("resid_post.1"), torch.full((32,), 1e38))
    with pytest.raises(NonFiniteError, match="text 0 under steer"):
        run_cells(host, CellGrid(texts, [Cell(0, (huge, huge, huge, huge))]), Says())
