"""decode_again: rows of a run decoded anew with the tokens that they have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.problem import Problem
from reasonmech.runtime.decoding.decoder import Decoder, RowInfo
from reasonmech.runtime.decoding.prompts import left_padded
from reasonmech.runtime.pass_rows import PassRow


def decode_again(
    decoder: Decoder, rows: Sequence[PassRow], numbers: Sequence[int]
) -> list[Float[Tensor, "chosen vocab"]]:
    """Logits that chose each token of every row's answer, as the decoder gives them for the same tokens.

    Args:
        numbers: of each row in the run, which a plan's sources are aligned with.
    """
    prompts = [row.ids[: row.prompt_length] for row in rows]
    answers = [row.ids[row.prompt_length :] for row in rows]
    room = max(map(len, answers))
    ids, mask = left_padded(prompts, decoder.pad_id)
    infos = [
        RowInfo(
            number, row.problem or Problem(row.name, "", ""), 0, 0, row.prompt_length, row.prompt_length, 0.0
        )
        for number, row in zip(numbers, rows, strict=True)
    ]
    chosen: list[list[Tensor]] = [[] for _ in rows]
    assert all(answers), "a rollout has at least one token"
    alive = list(range(len(rows)))
    state = decoder.start(ids, mask, infos, room)
    try:
        for offset in range(room):
            for i, logits in zip(alive, state.next_logits(), strict=True):
                chosen[i].append(logits)
            going_on = [j for j, i in enumerate(alive) if len(answers[i]) > offset + 1]
            if not going_on:
                break
            state.advance(torch.tensor([answers[i][offset] for i in alive]))
            state.select(torch.tensor(going_on))
            alive = [alive[j] for j in going_on]
    finally:
        state.close()
    return [torch.stack(logits) for logits in chosen]
