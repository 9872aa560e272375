"""Exhibits of trained pairs: what the published rules read of weights, activations, arms and many samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.claims.evidence import Evidence, PerProblem
from reasonmech.claims.measuring.bench import write_texts
from reasonmech.claims.validation.simulated import MANY, Exhibit
from reasonmech.claims.validation.token_table import SHIFTED
from reasonmech.errors import DataError
from reasonmech.hosts import Host, ModelPair
from reasonmech.hybrid import DisagreementGate, Hybrid, OfThinking, VectorConfig, train_vectors
from reasonmech.interventions import Whole, steer
from reasonmech.kinds import Kinds, sentence_starts
from reasonmech.pairwise import chosen_log_probs
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.decoding.prompts import as_read_by
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.streams import ChosenTokens, read_streams
from reasonmech.site import Site
from reasonmech.tasks import grade, load_task, tasks

KEYWORDS: Final = ("check", "backtrack")
"""Kinds of sentence whose first words the published labellers count."""
_ROUND: Final = 16  # samples of a problem that are drawn before it is asked whether one was right


@final
@dataclass(frozen=True)
class TrainedSize:
    """How much the published rules read of a trained pair.

    Attributes:
        problems: on which arms and many samples are decoded.
        texts: of the thinking model, on other problems, that vectors and differences of means are fitted on.
        steps: of training vectors.
        many: samples of every problem.
        tokens: after which a text is cut off.
    """

    problems: int = 60
    texts: int = 64
    steps: int = 150
    many: int = MANY
    tokens: int = 224


def trained_exhibit(pair: ModelPair, evidence: Evidence, *, task: str, reading: TrainedSize) -> Exhibit:
    """Evidence of a trained pair, with all that a published rule reads, on problems of the test split."""
    read = _Read(pair, task, reading)
    arm = read.full_arm()
    return Exhibit(
        evidence,
        many=(read.ever_right(pair.base), read.ever_right(pair.thinking)),
        shifted=shifted_tokens(pair, read.fitted),
        unchanged=unchanged_weights(pair),
        recovered=None if arm is None else _recovered(arm, read),
        keywords=read.keyword_rates(),
    )


def _recovered(arm: PerProblem, read: _Read) -> float:
    """The arm's share of the gap on its problems; NaN where there is no gap."""
    base, thinking = (read.right(host) for host in (read.pair.base, read.pair.thinking))
    gap = float((thinking - base).mean())
    return float((arm - base).mean()) / gap if gap else float("nan")


@final
class _Read:
    """A pair as the published rules read it."""

    def __init__(self, pair: ModelPair, task: str, reading: TrainedSize) -> None:
        self.pair, self.reading = pair, reading
        self.decode = Decode(max_new_tokens=reading.tokens, batch_size=256)
        self.problems: ProblemSet = load_task(task, n=reading.problems, split="test")
        self.fitted: Rollouts = write_texts(
            pair.thinking, load_task(task, n=reading.texts, seed=1, split="train"), self.decode
        )
        self.kinds: Kinds = tasks.get(task).kinds(pair.thinking.tokenizer)
        self.site = Site.parse(f"resid_post.{pair.steering_layer or pair.base.n_layers // 2}")

    def right(self, host: Host | Hybrid) -> PerProblem:
        return grade(write_texts(host, self.problems, self.decode)).astype(np.float64)

    def full_arm(self) -> PerProblem | None:
        """Trained category vectors where the two models disagree; None where no vector can be trained."""
        config = VectorConfig(steps=self.reading.steps)
        try:
            vectors = train_vectors(
                self.pair.base, self.site, self.fitted, kinds=self.kinds, config=config, progress=False
            ).vectors
        except DataError:  # the models agree on every token: there is no arm
            return None
        return self.right(
            Hybrid(
                self.pair,
                gate=DisagreementGate(),
                selector=OfThinking(),
                executor=vectors,
                kinds=self.kinds,
            )
        )

    def ever_right(self, host: Host) -> PerProblem:
        """Whether one of `many` samples of a problem is right; what was right once is not drawn again."""
        solved = np.zeros(len(self.problems))
        for number in range(self.reading.many // _ROUND):
            left = np.flatnonzero(solved == 0)
            if not left.size:
                break
            problems = ProblemSet(
                [self.problems[int(i)] for i in left],
                task=self.problems.task,
                environment=self.problems.environment,
            )
            decode = self.decode.model_copy(
                update={"temperature": 1.0, "samples": _ROUND, "seed": 1000 + number}
            )
            right = grade(write_texts(host, problems, decode)).reshape(len(left), _ROUND)
            solved[left] = right.any(axis=1)
        return solved

    def keyword_rates(self) -> tuple[float, float] | None:
        """Share of the base's sentences that begin with a keyword, steered by -1 and by +1 times the
        difference of means; None where the thinking model's texts have no keyword, or nothing else."""
        vector = self._difference()
        if vector is None:
            return None
        low, high = (self._keyword_rate(sign * vector) for sign in (-1.0, 1.0))
        return low, high

    def _difference(self) -> Float[Tensor, " d_model"] | None:
        """Mean stream before sentences that begin with a keyword less that before all others."""
        texts = as_read_by(self.pair.base, self.fitted)
        positions, is_keyword = [], []
        for rollout, starts in zip(texts, sentence_starts(self.kinds, [r.ids for r in texts]), strict=True):
            offsets = (starts & ~torch.tensor(rollout.by_environment)).nonzero()[:, 0]
            positions.append((len(rollout.prompt_ids) - 1 + offsets).tolist())
            is_keyword += self._are_keywords(rollout.ids)[offsets].tolist()
        labels = torch.tensor(is_keyword, dtype=torch.bool)
        if labels.all() or not labels.any():
            return None
        tokens = ChosenTokens([PassRow.of(rollout) for rollout in texts], positions)
        streams = read_streams(self.pair.base, tokens, [self.site])[self.site].float().cpu()
        return streams[labels].mean(0) - streams[~labels].mean(0)

    def _are_keywords(self, ids: tuple[int, ...]) -> Tensor:
        names = [self.kinds.names.index(name) for name in KEYWORDS if name in self.kinds.names]
        return torch.isin(self.kinds.label(torch.tensor(ids)), torch.tensor(names))

    def _keyword_rate(self, vector: Float[Tensor, " d_model"]) -> float:
        steered = generate(
            self.pair.base,
            self.problems,
            steer(Whole(self.site), vector),
            decode=self.decode,
            receipt="none",
            progress=False,
        )
        starts = sentence_starts(self.kinds, [r.ids for r in steered])
        begun = [self._are_keywords(r.ids)[begins] for r, begins in zip(steered, starts, strict=True)]
        return float(torch.cat(begun).float().mean())


def unchanged_weights(pair: ModelPair) -> float:
    """Share of weights that are the same in bfloat16."""
    thinking = dict(pair.thinking.model.named_parameters())
    same = total = 0
    for name, weight in pair.base.model.named_parameters():
        other = thinking[name]
        if other.shape == weight.shape:
            same += int((weight.to(torch.bfloat16) == other.to(torch.bfloat16)).sum())
        total += weight.numel()
    return same / total


def shifted_tokens(pair: ModelPair, texts: Rollouts) -> float:
    """Share of the tokens that the thinking model chose at which JS of the two models is above 0.1 nats."""
    return float(np.concatenate(list(_shifted(pair, texts))).mean())


def _shifted(pair: ModelPair, texts: Rollouts) -> Iterator[np.ndarray]:
    for base, thinking in chosen_log_probs(pair, texts):
        other = thinking.to(base.device)
        middle = torch.logaddexp(base, other) - np.log(2.0)
        halves = [torch.where(p > -torch.inf, p.exp() * (p - middle), 0.0).sum(-1) for p in (base, other)]
        yield (0.5 * (halves[0] + halves[1]) > SHIFTED).cpu().numpy()
