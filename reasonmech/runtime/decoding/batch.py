"""DecodingBatch: rows written together, one token a round, until each has ended."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.errors import NonFiniteError
from reasonmech.hosts.characters import rollout_pieces
from reasonmech.hosts.vocabulary import decode
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollout, Stop
from reasonmech.runtime.decoding.decode import Decode, choose
from reasonmech.runtime.decoding.decoder import Decoder, DecoderState, RowInfo
from reasonmech.runtime.decoding.prompts import left_padded
from reasonmech.runtime.decoding.stop_strings import StopStrings
from reasonmech.runtime.decoding.truncation import RepetitionPenalty


@final
class DecodingBatch:
    """Rows in flight. Books are kept on the CPU; a round synchronises once, to read its tokens."""

    def __init__(
        self,
        decoder: Decoder,
        rows: Sequence[RowInfo],
        prompts: Mapping[str, Sequence[int]],
        *,
        decode: Decode,
        problems: ProblemSet,
    ) -> None:
        self.decoder, self.rows, self.decode = decoder, list(rows), decode
        self.prompts = [tuple(prompts[row.problem.id]) for row in rows]
        n = len(self.rows)
        self.written = torch.zeros(n, decode.max_new_tokens, dtype=torch.long)
        self.by_environment = torch.zeros(n, decode.max_new_tokens, dtype=torch.bool)
        self.steered = torch.zeros(n, decode.max_new_tokens, dtype=torch.bool)
        self.stops = torch.tensor(decode.stop_tokens, dtype=torch.long)
        self.stop_strings = StopStrings(decode.stop_strings, decoder.tokenizer, n)
        self.alive = torch.arange(n)
        self.keys = torch.tensor([row.key for row in self.rows], device=decoder.device)
        self.position = torch.tensor([row.draw_start for row in self.rows], device=decoder.device)
        self.truncation, penalty = decode.truncation, decode.repetition_penalty
        self.penalty = None if penalty == 1 else RepetitionPenalty(penalty, self.prompts)
        environment = problems.environment
        self.scribes = (
            None
            if environment is None
            else [environment.scribe(row.problem, row.sample, decoder.tokenizer) for row in self.rows]
        )

    def run(self) -> Generator[tuple[int, Rollout], None, None]:
        """Yield (row index, rollout) as rows end."""
        prompts, mask = left_padded(self.prompts, self.decoder.pad_id)
        state = self.decoder.start(prompts, mask, self.rows, self.decode.max_new_tokens)
        try:
            for offset in range(self.decode.max_new_tokens):
                tokens = self._round(state, offset)
                at_eos = state.ended(tokens)
                ended = at_eos | torch.isin(tokens, self.stops) | self.stop_strings.ended(self.alive, tokens)
                any_ended = bool(ended.any())
                if any_ended:
                    yield from self._rollouts(self.alive[at_eos], offset + 1, "eos")
                    yield from self._rollouts(self.alive[ended & ~at_eos], offset + 1, "token")
                    if ended.all():
                        return
                if offset + 1 == self.decode.max_new_tokens:
                    yield from self._rollouts(self.alive[~ended], offset + 1, "length")
                    return
                state.advance(tokens)
                if any_ended:
                    self._drop(state, ended)
        finally:
            state.close()

    def _round(self, state: DecoderState, offset: int) -> Int[Tensor, " batch"]:
        logits = state.next_logits()
        if self.penalty is not None:
            logits = self.penalty.applied(logits)
        choice = choose(
            logits,
            temperature=self.decode.temperature,
            keys=self.keys,
            position=self.position + offset,
            truncation=self.truncation,
        )
        tokens = choice.tokens.cpu()
        self._check_finite(choice.scores.cpu(), offset)
        if self.scribes is not None:
            tokens = self._ask_environment(tokens, offset)
        if self.penalty is not None:
            self.penalty.advance(tokens)
        self.written[self.alive, offset] = tokens
        self.steered[self.alive, offset] = state.steered().cpu()
        return tokens

    def _ask_environment(self, proposed: Int[Tensor, " batch"], offset: int) -> Int[Tensor, " batch"]:
        assert self.scribes is not None
        answers = [
            self.scribes[row].write(token)
            for row, token in zip(self.alive.tolist(), proposed.tolist(), strict=True)
        ]
        self.by_environment[self.alive, offset] = torch.tensor([answer.by_environment for answer in answers])
        return torch.tensor([answer.token for answer in answers])

    def _check_finite(self, scores: Tensor, offset: int) -> None:
        bad = [i for i, score in enumerate(scores.tolist()) if not math.isfinite(score)]
        if bad:
            row = self.rows[int(self.alive[bad[0]])]
            raise NonFiniteError(
                f"NaN or infinite logits in problem {row.problem.id!r}, sample {row.sample},"
                f" at position {row.prompt_length + offset}",
                do="check the model's weights and dtype, and the size of the plan's amounts",
            )

    def _drop(self, state: DecoderState, ended: Bool[Tensor, " batch"]) -> None:
        going_on = (~ended).nonzero().flatten()
        state.select(going_on)
        if self.penalty is not None:
            self.penalty.select(going_on)
        self.alive = self.alive[going_on]
        on_device = going_on.to(self.keys.device)
        self.keys, self.position = self.keys[on_device], self.position[on_device]

    def _rollouts(self, rows: Int[Tensor, " row"], length: int, stop: Stop) -> Iterator[tuple[int, Rollout]]:
        for i in rows.tolist():
            row, ids = self.rows[i], self.written[i, :length].tolist()
            yield (
                row.index,
                Rollout(
                    problem=row.problem,
                    sample=row.sample,
                    prompt_ids=self.prompts[i],
                    ids=tuple(ids),
                    by_environment=tuple(self.by_environment[i, :length].tolist()),
                    steered=tuple(self.steered[i, :length].tolist()),
                    stop=stop,
                    text=decode(self.decoder.tokenizer, ids),
                    pieces=rollout_pieces(self.decoder.tokenizer, ids),
                ),
            )
