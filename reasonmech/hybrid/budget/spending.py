"""Spending: texts of one model in which some of its tokens are replaced, and what that cost and brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reasonmech.hosts import ModelPair
from reasonmech.hybrid.arms import percent_steered
from reasonmech.hybrid.budget.scores import EntropyScore, TokenScore, with_ends
from reasonmech.hybrid.decoder import Hybrid
from reasonmech.hybrid.draws import LogDraws, repeat
from reasonmech.hybrid.executors import Takeover
from reasonmech.hybrid.gates import OfThinking
from reasonmech.hybrid.log import Bits, bits_passed, steered_offsets
from reasonmech.hybrid.parts import Executor, HybridGate, Moment
from reasonmech.kinds import Kinds
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.tasks import grade


class Spent(NamedTuple):
    """What one run wrote with some of its tokens replaced.

    Attributes:
        tokens: [problem] replaced, on average over the samples.
        correct: [problem] share of right answers.
        percent: replaced, of the tokens that models chose.
        bits: per text, of the controller: where, and which token, if that is the other model's.
        length: tokens per text.
    """

    tokens: Float[np.ndarray, " problem"]
    correct: Float[np.ndarray, " problem"]
    percent: float
    bits: Bits
    length: float


class RankedPlaces(NamedTuple):
    """Places where two models would write different tokens, with their scores.

    Attributes:
        values: score -> [place].
        entropies: [place] of the writer's next token [nats].
    """

    values: Mapping[str, Float[np.ndarray, " place"]]
    entropies: Float[np.ndarray, " place"]


@dataclass(frozen=True, eq=False)
class Spending:
    """One model writes, and some of its tokens are those of the other.

    Attributes:
        pair: its base is the model that writes.
        kinds: of sentence, in the tokens of both.
    """

    pair: ModelPair
    kinds: Kinds
    decode: Decode
    progress: bool

    def spend(
        self, problems: ProblemSet, gate: HybridGate, executor: Executor, *, runs: int = 1
    ) -> list[Spent]:
        """What is written under a gate, run after run in one batch; `runs` is how many rules the gate has."""
        n = len(problems) * self.decode.samples
        log, tells_token = LogDraws(runs, n), isinstance(executor, Takeover)
        hybrid = Hybrid(
            self.pair, gate=gate, selector=OfThinking(), executor=executor, kinds=self.kinds, log=log
        )
        written = generate(hybrid, repeat(problems, runs), decode=self.decode, progress=self.progress)
        right = grade(written).astype(float).reshape(runs, len(problems), -1).mean(2)
        answers = []
        for run in range(runs):
            texts = written[run * n : (run + 1) * n]
            bits = bits_passed(texts, log.logs[run], self.kinds)
            replaced = np.array([len(steered_offsets(rollout)) for rollout in texts], dtype=float)
            answers.append(
                Spent(
                    replaced.reshape(len(problems), -1).mean(1),
                    right[run],
                    percent_steered(texts).share,
                    bits if tells_token else bits._replace(choice=0.0),
                    float(np.mean([len(rollout.ids) for rollout in texts])),
                )
            )
        return answers

    def places(
        self, problems: ProblemSet, scores: Mapping[str, TokenScore], executor: Executor
    ) -> RankedPlaces:
        """Where the models disagree in texts of either: with no token replaced, and with all."""
        entropy, rows = "entropy of the writer", []
        for replace_all in (False, True):
            gate = _Recorder({**scores, entropy: EntropyScore()}, replace_all=replace_all)
            hybrid = Hybrid(self.pair, gate=gate, selector=OfThinking(), executor=executor, kinds=self.kinds)
            written = generate(hybrid, problems, decode=self.decode, progress=self.progress)
            rows += gate.chosen(written)
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(scores) + 1)
        return RankedPlaces(dict(zip(scores, table.T, strict=False)), table[:, -1])


class _Recorder:
    """A gate that writes down the scores where the models disagree, and opens at all of these or at none."""

    def __init__(self, scores: Mapping[str, TokenScore], *, replace_all: bool) -> None:
        self._scores, self._replace_all = scores, replace_all
        self._told = scores
        self._places: dict[int, dict[int, list[float]]] = {}  # row of the run -> its token -> scores

    def with_ends(self, ends: tuple[int, ...]) -> _Recorder:
        """Itself: what it writes down of one batch and of the next belongs together."""
        self._told = {name: with_ends(score, ends) for name, score in self._scores.items()}
        return self

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        for info, position in zip(moment.rows, moment.position.tolist(), strict=True):
            if position == info.draw_start:  # begun, or begun again in a smaller batch
                self._places[info.index] = {}
        rows = moment.apart.nonzero()[:, 0]
        if len(rows):
            table = torch.stack([score.of(moment)[rows].double() for score in self._told.values()], dim=1)
            for row, values in zip(rows.tolist(), table.tolist(), strict=True):
                info = moment.rows[row]
                self._places[info.index][int(moment.position[row]) - info.draw_start] = values
        return moment.apart & self._replace_all

    def chosen(self, written: Rollouts) -> list[list[float]]:
        """Scores at tokens that a model chose: the environment's are left out."""
        return [
            values
            for row, of_text in sorted(self._places.items())
            for token, values in of_text.items()
            if not written[row].by_environment[token]
        ]
