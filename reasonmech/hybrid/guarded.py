"""Guarded: of several strengths of a vector the one whose token the thinking model likes best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hybrid.executors import Vectors
from reasonmech.hybrid.parts import Moment
from reasonmech.runtime.decoding.decode import choose
from reasonmech.runtime.rerun import CleanPast, rerun
from reasonmech.shapes import NextLogits
from reasonmech.site import Site


@final
class Guarded:
    """The guardrail of the first published version (arXiv 2510.07364v1): at every open gate each strength is
    tried, and the one is taken whose token has the largest probability under the thinking model.

    Its window is one token (the vector acts at the last position
    alone, as everywhere here); the published ones of 15, 50, 100 and all tokens steer keys and values that
    later tokens read. The thinking model's opinion of a token is asked once more than a gate asks it: an arm
    passes log2 of the number of strengths more for each steered token.

    Attributes:
        coefficients: strengths that are tried, multiples of the vectors.

    Raises:
        DataError: no strength.
    """

    @checked
    def __init__(self, vectors: Vectors, coefficients: Sequence[float]) -> None:
        if not len(coefficients):
            raise DataError("a guardrail without strengths", allowed="one or more, such as [0.25, 0.5, 1.0]")
        self._vectors, self.coefficients = vectors, tuple(coefficients)

    @property
    def site(self) -> Site:
        return self._vectors.site

    @property
    def candidates(self) -> int:
        """How many tokens the thinking model is asked about."""
        return len(self.coefficients)

    @checked
    def check(self, host: Host, categories: Sequence[str]) -> None:
        self._vectors.check(host, categories)

    @property
    def strongest(self) -> Vectors:
        """The vectors at the largest strength that is tried."""
        vectors, by = self._vectors, max(self.coefficients, key=abs)
        table = vectors.table * by
        return Vectors(vectors.host, vectors.site, table=table, trained=vectors.trained, scale=vectors.scale)

    def covers(self, category: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return self._vectors.covers(category)

    def execute(
        self, moment: Moment, context: CleanPast, rows: Int[Tensor, " row"], category: Int[Tensor, " row"]
    ) -> NextLogits:
        host, (keys, position) = self._vectors.host, (moment.keys[rows], moment.position[rows])
        thinking = moment.thinking[rows.to(moment.thinking.device)].float().log_softmax(-1)
        steered, chosen = [], []
        for coefficient in self.coefficients:  # one after the other: each needs a cache of its own

            def edit(x: Float[Tensor, "batch d_model"], by: float = coefficient) -> Tensor:
                return x + (by * self._vectors.added(x, category)).to(x)

            past = context.select(rows.to(host.device), site=self.site)
            steered.append(rerun(host, past, self.site, edit))
            of_both = steered[-1][:, : thinking.shape[1]]
            drawn = choose(
                of_both,
                temperature=moment.temperature,
                keys=keys.to(of_both.device),
                position=position.to(of_both.device),
            )
            chosen.append(drawn.tokens)
        logits, tokens = torch.stack(steered, dim=1), torch.stack(chosen, dim=1)
        liked = thinking.gather(1, tokens.to(thinking.device))
        best = (liked == liked.amax(1, keepdim=True)).long().argmax(1).to(logits.device)  # first of equals
        return logits[torch.arange(len(rows), device=logits.device), best]
