"""Replay: decode rollouts again with the tokens they have, for plans whose gates exist only while
decoding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.problem import Problem
from reasonmech.runtime.decoding.decoder import Decoder, RowInfo
from reasonmech.runtime.pass_rows import PassRow


def replay(
    decoder: Decoder, texts: Sequence[PassRow], numbers: Sequence[int]
) -> list[Float[Tensor, "chosen vocab"]]:
    """Logits that chose each token of every text's answer, as the decoder gives them for the same tokens.

    Args:
        numbers: of each text in the run, which a plan's sources are aligned with.
    """
    prompts = [text.ids[: text.prompt_length] for text in texts]
    answers = [text.ids[text.prompt_length :] for text in texts]
    width, room = max(map(len, prompts)), max(map(len, answers))
    ids = torch.tensor([[decoder.pad_id] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[False] * (width - len(p)) + [True] * len(p) for p in prompts])
    rows = [
        RowInfo(number, Problem(text.name, "", ""), 0, 0, text.prompt_length, 0.0)
        for number, text in zip(numbers, texts, strict=True)
    ]
    found: list[list[Tensor]] = [[] for _ in texts]
    assert all(answers), "a rollout has at least one token"
    alive = list(range(len(texts)))
    state = decoder.start(ids, mask, rows, room)
    try:
        for offset in range(room):
            for i, logits in zip(alive, state.next_logits(), strict=True):
                found[i].append(logits)
            kept = [j for j, i in enumerate(alive) if len(answers[i]) > offset + 1]
            if not kept:
                break
            state.advance(torch.tensor([answers[i][offset] for i in alive]))
            state.keep(torch.tensor(kept))
            alive = [alive[j] for j in kept]
    finally:
        state.close()
    return [torch.stack(lines) for lines in found]
