"""A model that is partial of few rows says of them what it says when it is partial of all."""

from __future__ import annotations

import pytest
import torch

from reasonmech.hosts import Host
from reasonmech.problem import Problem
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.decoding.host_decoder import HostDecoder, HostState
from reasonmech.testing import ARCHITECTURES, tiny_host

ASKED = [[True, False, True], [False, False, False], [False, True, False], [True, True, True]]


def state_of(host: Host) -> HostState:
    prompts = torch.tensor([[0, 5, 6, 7], [8, 9, 10, 11], [0, 0, 12, 13]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]]).bool()
    rows = [RowInfo(i, Problem(str(i), "", ""), 0, i, int(mask[i].sum()), 0, 0.0) for i in range(len(mask))]
    return HostDecoder.of(host).start(prompts, mask, rows, 8)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_some_rows_are_unembedded_and_all_are_read(arch: str) -> None:
    with torch.no_grad():
        host = tiny_host(arch)
        whole, partial, tokens = state_of(host), state_of(host), torch.tensor([5, 6, 7])
        for rows in map(torch.tensor, ASKED):  # the first pass has the prompts
            expected = whole.next_logits()[rows]
            torch.testing.assert_close(partial.next_logits_of(rows), expected, rtol=1e-5, atol=1e-6)
            whole.advance(tokens)
            partial.advance(tokens)
        torch.testing.assert_close(partial.next_logits(), whole.next_logits())  # no hook stays behind


def test_rows_that_are_not_asked_of_are_not_unembedded(monkeypatch: pytest.MonkeyPatch) -> None:
    host = tiny_host("llama")
    head, widths = host.model.get_output_embeddings(), []
    forward = head.forward
    monkeypatch.setattr(head, "forward", lambda x: widths.append(len(x)) or forward(x))
    state = state_of(host)
    with torch.no_grad():
        for rows in map(torch.tensor, ASKED[:3]):
            state.next_logits_of(rows)
            state.advance(torch.tensor([5, 6, 7]))
    assert widths == [3, 0, 1]
