"""Scores of a moment: by which tokens of the other model are ranked, the highest to be taken over first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.door import checked
from reasonmech.hosts import ModelPair
from reasonmech.hybrid.parts import Moment
from reasonmech.kinds import Kinds, Openings
from reasonmech.kinds import with_ends as kinds_with_ends
from reasonmech.pairwise.distances import entropy, js
from reasonmech.ranges import Seed
from reasonmech.registry import Registry
from reasonmech.runtime.decoding.noise import uniform
from reasonmech.shapes import NextLogits


@runtime_checkable
class TokenScore(Protocol):
    """A number per row of a moment; what it says of the two models is at temperature 1."""

    def of(self, moment: Moment) -> Float[Tensor, " batch"]:
        """The scores (CPU, float64)."""
        ...


@runtime_checkable
class ReadsEnds(Protocol):
    """A score that reads which tokens end a text; it is told anew when a batch begins."""

    def with_ends(self, ends: Sequence[int]) -> TokenScore:
        """The same score, for models with these ends of text."""
        ...


def with_ends(score: TokenScore, ends: Sequence[int]) -> TokenScore:
    """The same score, for models with these ends of text."""
    return score.with_ends(ends) if isinstance(score, ReadsEnds) else score


scores: Registry[Callable[[ModelPair, Kinds], TokenScore]] = Registry("score of a token")
"""Kind -> what makes the score of a pair that writes sentences of these kinds."""


@dataclass(frozen=True)
class DivergenceScore:
    """Jensen-Shannon divergence of the two models' next tokens [nats] (arXiv 2603.22446)."""

    def of(self, moment: Moment) -> Float[Tensor, " batch"]:
        return js(_log_probs(moment.base), _log_probs(moment.thinking)).cpu()


@dataclass(frozen=True)
class LogRatioScore:
    """log p(token) of the thinking model minus that of the base [nats], of the token that the thinking model
    would write: how much more probable training made it (signed: below 0 where the base likes it better)."""

    def of(self, moment: Moment) -> Float[Tensor, " batch"]:
        tokens = moment.thinking_choice.to(moment.base.device)[:, None]
        base, thinking = (_log_probs(logits) for logits in (moment.base, moment.thinking))
        return (thinking.gather(1, tokens) - base.gather(1, tokens))[:, 0].cpu()


@dataclass(frozen=True)
class EntropyScore:
    """Entropy of the base's next token [nats]: where it is in doubt. Reads no thinking model."""

    def of(self, moment: Moment) -> Float[Tensor, " batch"]:
        return entropy(_log_probs(moment.base)).cpu()


@dataclass(frozen=True, eq=False)
class KindScore:
    """Jensen-Shannon divergence of the kinds of sentence that the models would begin [nats]; 0 where no
    sentence begins. A kind is as probable as all of its first words together."""

    openings: Openings

    def with_ends(self, ends: Sequence[int]) -> KindScore:
        return KindScore(self.openings.with_ends(ends))

    def of(self, moment: Moment) -> Float[Tensor, " batch"]:
        base, thinking = (
            self.openings.of_kinds(logits).double().log_softmax(-1)
            for logits in (moment.base, moment.thinking)
        )
        return torch.where(moment.boundary, js(base, thinking).cpu(), 0.0)


@checked
@dataclass(frozen=True)
class RandomScore:
    """Null: evenly drawn, by a row and its position, blind to both models."""

    seed: Seed = 0

    def of(self, moment: Moment) -> Float[Tensor, " batch"]:
        return uniform(moment.keys, moment.position, stream=f"random score {self.seed}")


def _log_probs(logits: NextLogits) -> NextLogits:
    return logits.double().log_softmax(-1)


def _of_kinds(pair: ModelPair, kinds: Kinds) -> KindScore:
    ends = tuple(dict.fromkeys((*pair.base.eos_ids, *pair.thinking.eos_ids)))
    vocab_size = min(pair.base.vocab_size, pair.thinking.vocab_size)
    return KindScore(Openings(kinds_with_ends(kinds, ends), vocab_size))


scores.register("divergence")(lambda pair, kinds: DivergenceScore())
scores.register("log_ratio")(lambda pair, kinds: LogRatioScore())
scores.register("entropy")(lambda pair, kinds: EntropyScore())
scores.register("kinds")(_of_kinds)
scores.register("random")(lambda pair, kinds: RandomScore())
