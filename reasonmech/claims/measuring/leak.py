"""The leak curve: how much of every sentence must the thinking model write until the base arrives?"""

from __future__ import annotations

from typing import Final, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.claims.evidence import PerProblem
from reasonmech.claims.measuring.bench import Bench
from reasonmech.claims.measuring.relay import Relay
from reasonmech.kinds import Kinds, with_ends
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.tasks import tasks

TOKENS: Final = (0, 1, 2, 4, 8, 16)


def measure_leak(bench: Bench) -> dict[int, PerProblem]:
    """Right answers, greedy, where the thinking model writes the first m tokens of each sentence, the base
    the rest; by m."""
    base, thinking = (HostDecoder.of(bench.host(role)) for role in ("base", "thinking"))
    kinds = tasks.get(bench.problems.task).kinds(bench.pair.base.tokenizer)
    kinds = with_ends(kinds, (*base.eos_ids, *thinking.eos_ids))
    curve = {0: bench.right(bench.free("base", "greedy"))}
    for m in TOKENS[1:]:
        relay = Relay(
            base,
            thinking,
            lambda rows, m=m: FirstTokens(kinds, len(rows), m),
            rule=f"at the first {m} tokens of a sentence" if m > 1 else "at the first token of a sentence",
        )
        curve[m] = bench.right(bench.write(f"greedy.leak.{m}", relay, bench.decode("greedy")))
    return curve


@final
class FirstTokens:
    """Turns: the second decoder writes the first m tokens of every sentence."""

    def __init__(self, kinds: Kinds, batch: int, m: int) -> None:
        self._tracker, self._m = kinds.track(batch), m
        self._written = torch.zeros(batch, dtype=torch.long)  # tokens of the sentence that goes on

    @property
    def second(self) -> Bool[Tensor, " batch"]:
        return self._written < self._m

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._tracker.advance(tokens)
        self._written = torch.where(self._tracker.boundary, 0, self._written + 1)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._tracker.select(rows)
        self._written = self._written[rows]
