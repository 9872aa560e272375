"""Power sampling: the base's own distribution of whole texts, sharpened, by Metropolis-Hastings moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from typing import Final, NamedTuple, final

import torch
from jaxtyping import Bool, Int
from pydantic import Field
from torch import Tensor
from tqdm.auto import tqdm

from reasonmech.door import checked
from reasonmech.hosts import Host
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.decoder import DecoderState, RowInfo
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.decoding.noise import gumbel, row_key, uniform
from reasonmech.runtime.decoding.of_host import OfHost
from reasonmech.settings import Settings
from reasonmech.shapes import Mask, NextLogits, Tokens
from reasonmech.splitmix import mix_tensor

_SALT: Final = 0x5EED_0006
Row = tuple[str, int]  # problem id, sample


@final
class PowerConfig(Settings):
    """How texts are sharpened; the published values cost about 85 times the tokens of one text."""

    alpha: float = Field(4.0, gt=0, description="power that the probability of a text is raised to")
    blocks: int = Field(16, ge=1, description="in which a text grows, of max_new_tokens")
    moves: int = Field(10, ge=0, description="Metropolis-Hastings moves after each block")


class _Text(NamedTuple):
    """A text, and of each of its tokens what was proposed to the environment and log sum p ** alpha there."""

    rollout: Rollout
    proposed: tuple[int, ...]
    log_z: tuple[float, ...]

    def log_z_from(self, start: int) -> float:
        """Summed over the tokens that the model chose from `start` on."""
        flags = zip(self.log_z[start:], self.rollout.by_environment[start:], strict=True)
        return sum(value for value, written in flags if not written)


class PowerTexts(NamedTuple):
    """Texts, and what they cost.

    Attributes:
        acceptance: share of the moves that were accepted; 1 where none was made.
        drawn: tokens that were drawn from the model.
        kept: tokens of the texts that the model chose.
    """

    rollouts: Rollouts
    acceptance: float
    drawn: int
    kept: int

    @property
    def cost(self) -> float:
        """Tokens drawn per token kept."""
        return self.drawn / self.kept


@final
class PowerSampled:
    """A host whose texts are drawn from p(text) ** alpha, renormalised, by Metropolis-Hastings.

    After "Reasoning with Sampling" (arXiv 2510.14901): texts grow in blocks; after each come moves, which
    draw a position of the text so far, draw the rest anew at temperature 1 / alpha, and keep it with
    probability min(1, prod Z' / prod Z . n / n'), with Z the sum of p ** alpha over the next token at each
    token of the rest, and n the tokens of the text. The last factor is ours: texts that end differ in
    length, and so in how often a position is drawn. What the environment writes cancels.
    No controller, no thinking model; the cost is in passes.
    """

    @checked
    def __init__(self, host: Host, config: PowerConfig | None = None) -> None:
        self.host, self.config = host, config or PowerConfig()

    def __repr__(self) -> str:
        c = self.config
        return f"PowerSampled({self.host.name!r}, alpha {c.alpha:g}, {c.blocks} blocks, {c.moves} moves)"

    @property
    def writer(self) -> str:
        """Who writes and how, which its texts say (`Rollouts.writer`)."""
        return f"{self.host.name!r}, power sampled with alpha {self.config.alpha:g}"

    @checked
    def write(self, problems: ProblemSet, decode: Decode, *, progress: bool = True) -> PowerTexts:
        """Answer every problem; `decode.temperature` is not used."""
        chain = _Chain(self, problems, decode)
        for block in tqdm(range(1, self.config.blocks + 1), desc="power sampling", disable=not progress):
            chain.grow(ceil(decode.max_new_tokens * block / self.config.blocks))
        return chain.finish()


@final
class _Chain:
    """All texts of a run, as they stand."""

    def __init__(self, sampler: PowerSampled, problems: ProblemSet, decode: Decode) -> None:
        self._sampler, self._problems, self._decode = sampler, problems, decode
        self._texts: dict[Row, _Text] = {}
        self._move = self._accepted = self._moves = self._drawn = 0

    def grow(self, length: int) -> None:
        """Let what has not ended grow to a length, and move; a text that has ended after that stays."""
        going_on = [row for row in self._rows() if not self._has_ended(row)]
        if not going_on:
            return
        self._texts |= self._drawn_from({row: self._n(row) for row in going_on}, length)
        for _ in range(self._sampler.config.moves):
            self._make_move(going_on, length)

    def finish(self) -> PowerTexts:
        rollouts = Rollouts(
            [self._texts[row].rollout for row in self._rows()],
            task=self._problems.task,
            writer=self._sampler.writer,
        )
        acceptance = self._accepted / self._moves if self._moves else 1.0
        return PowerTexts(rollouts, acceptance, self._drawn, sum(r.n_chosen for r in rollouts))

    def _rows(self) -> list[Row]:
        return [(problem.id, sample) for problem in self._problems for sample in range(self._decode.samples)]

    def _has_ended(self, row: Row) -> bool:
        return row in self._texts and self._texts[row].rollout.stop != "length"

    def _n(self, row: Row) -> int:
        return len(self._texts[row].rollout.ids) if row in self._texts else 0

    def _make_move(self, rows: Sequence[Row], length: int) -> None:
        keys = torch.tensor([row_key(self._decode.seed, *row) for row in rows])
        count = torch.full((len(rows),), self._move)
        where, luck = (uniform(keys, count, stream=f"power {what}").tolist() for what in ("where", "whether"))
        cuts = {row: int(u * self._n(row)) for row, u in zip(rows, where, strict=True)}
        proposals = self._drawn_from(cuts, length)
        for row, u in zip(rows, luck, strict=True):
            now, new = self._texts[row], proposals[row]
            ratio = new.log_z_from(cuts[row]) - now.log_z_from(cuts[row])
            ratio += log(len(now.rollout.ids)) - log(len(new.rollout.ids))
            self._moves += 1
            if u < exp(min(0.0, ratio)):
                self._texts[row] = new
                self._accepted += 1

    def _drawn_from(self, cuts: Mapping[Row, int], length: int) -> dict[Row, _Text]:
        """Texts that are drawn anew from these tokens on, up to a length; the others stay as they are."""
        wanted = {problem for problem, _ in cuts}
        chosen = [problem for problem in self._problems if problem.id in wanted]
        problems = ProblemSet(chosen, task=self._problems.task, environment=self._problems.environment)
        forced = {row: text.proposed[: cuts.get(row)] for row, text in self._texts.items()}
        log_ = _Log()
        decoder = _Redrawn(self._sampler, forced, self._move, log_)
        self._move += 1
        decode = Decode(**self._decode.model_dump() | {"temperature": 0.0, "max_new_tokens": length})
        texts: dict[Row, _Text] = {}
        for rollout in generate(decoder, problems, decode=decode, progress=False):
            row, n = (rollout.problem.id, rollout.sample), len(rollout.ids)
            if row in cuts:
                self._drawn += sum(not written for written in rollout.by_environment[cuts[row] :])
                texts[row] = _Text(rollout, tuple(log_.proposed[row][:n]), tuple(log_.log_z[row][:n]))
        return texts


@final
class _Log:
    """What was proposed at every token, and log Z there, by row."""

    def __init__(self) -> None:
        self.proposed: dict[Row, list[int]] = {}
        self.log_z: dict[Row, list[float]] = {}

    def append(self, rows: Sequence[RowInfo], proposed: list[int], log_z: list[float]) -> None:
        for row, token, value in zip(rows, proposed, log_z, strict=True):
            self.proposed.setdefault((row.problem.id, row.sample), []).append(token)
            self.log_z.setdefault((row.problem.id, row.sample), []).append(value)


@final
@dataclass(frozen=True, eq=False)
class _Redrawn(OfHost):
    """The host at temperature 1 / alpha behind the first tokens of texts that stand.

    Attributes:
        forced: row -> what was proposed at each token that is kept.
        move: number of the draw, which its noise is keyed by.
    """

    sampler: PowerSampled
    forced: Mapping[Row, tuple[int, ...]]
    move: int
    log: _Log

    @property
    def host(self) -> Host:
        return self.sampler.host

    @checked
    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> DecoderState:
        state = HostDecoder.of(self.host).start(prompts, mask, rows, max_new_tokens)
        return _RedrawnState(self, state, rows)


@final
class _RedrawnState:
    """Logits whose likeliest token is the next one: the kept one, or a draw."""

    def __init__(self, decoder: _Redrawn, state: DecoderState, rows: Sequence[RowInfo]) -> None:
        self._decoder, self._state, self._rows = decoder, state, list(rows)
        self._offset = 0
        self._keys = torch.tensor([row.key for row in rows]) ^ mix_tensor(torch.tensor(decoder.move + _SALT))
        self._position = torch.tensor([row.draw_start for row in rows])

    def next_logits(self) -> NextLogits:
        logits = self._state.next_logits().float()
        sharp = self._decoder.sampler.config.alpha * logits.log_softmax(-1)
        drawn = sharp + gumbel(
            self._keys.to(logits.device), self._position.to(logits.device), logits.shape[-1]
        )
        kept = [self._decoder.forced.get((row.problem.id, row.sample), ()) for row in self._rows]
        behind = [i for i, tokens in enumerate(kept) if self._offset < len(tokens)]
        if behind:
            tokens = torch.tensor([kept[i][self._offset] for i in behind], device=drawn.device)
            rows = torch.tensor(behind, device=drawn.device)
            drawn[rows] = drawn.new_full((len(behind), drawn.shape[1]), -torch.inf)
            drawn[rows, tokens] = 0.0
        self._decoder.log.append(self._rows, drawn.argmax(-1).tolist(), sharp.logsumexp(-1).tolist())
        return drawn

    def steered(self) -> Bool[Tensor, " batch"]:
        return self._state.steered()

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return self._state.ended(tokens)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._offset += 1
        self._position = self._position + 1
        self._state.advance(tokens)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._keys, self._position = self._keys[rows], self._position[rows]
        self._rows = [self._rows[i] for i in rows.tolist()]
        self._state.select(rows)

    def close(self) -> None:
        self._state.close()
