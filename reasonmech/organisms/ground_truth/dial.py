"""Dial: sentence by sentence one of two models has its say, the thinking one with a probability turned up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import DataError, MismatchError
from reasonmech.hosts import Host
from reasonmech.rollout import Rollout
from reasonmech.runtime.decoding.noise import row_key, uniform

Factor = Literal["onset", "executor"]


@checked
@dataclass(frozen=True, eq=False)
class Dial:
    """Two models that take turns by lot, sentence by sentence.

    The lot of a sentence is a number u in [0, 1) keyed by (seed, problem, sample, number of the sentence),
    and the thinking model's turn is u < share. So the draws do not depend on the batch, the text or the
    share, and a larger share only adds turns of the thinking model (a monotone coupling). Share 0 is the
    base, share 1 the thinking model.

    Attributes:
        base, thinking: the two hosts.
        share: probability of a turn of the thinking model.

    Raises:
        ArgumentError: a model that is no host.
        DataError: the share is not within [0, 1].
        MismatchError: the hosts' vocabularies differ.
    """

    base: Host
    thinking: Host
    share: float

    def __post_init__(self) -> None:
        for name, host in (("base", self.base), ("thinking", self.thinking)):
            check_type(host, Host, name=name, allowed="a Host", do="Dial(pair.base, pair.thinking, 0.5)")
        check_type(self.share, (int, float), name="share", allowed="a number from 0 to 1")
        if not 0.0 <= self.share <= 1.0:
            raise DataError(f"a dial at {self.share}", allowed="0 <= share <= 1", do="give a probability")
        if self.base.tokenizer.get_vocab() != self.thinking.tokenizer.get_vocab():
            raise MismatchError(
                f"{self.base.name!r} and {self.thinking.name!r} have other vocabularies",
                do="dial between the two models of one pair: load_pair checks it",
            )

    @property
    def words(self) -> str:
        """The models that have a turn, and how often: "'a'", or "'a' and 0.25 'b'"."""
        if len(self.hosts) == 1:
            return repr(self.hosts[0].name)
        return f"{self.base.name!r} and {self.share:g} {self.thinking.name!r}"

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Those that ever have a turn."""
        if self.share == 0.0 or self.base is self.thinking:
            return (self.base,)
        return (self.thinking,) if self.share == 1.0 else (self.base, self.thinking)


def thinking_turns(
    keys: Int[Tensor, " batch"], sentence: Int[Tensor, " batch"], *, share: float, factor: Factor
) -> Bool[Tensor, " batch"]:
    """Whether the thinking model has its say on `factor` in the given sentence (from 0) of each row (CPU)."""
    return uniform(keys, sentence, stream=f"dial/{factor}") < share


def turns_of(rollout: Rollout, n_sentences: int, *, share: float, factor: Factor, seed: int) -> list[bool]:
    """The turns that a rollout of `n_sentences` was written with: what the dial really did."""
    key = row_key(seed, rollout.problem.id, rollout.sample)
    keys, sentence = torch.full((n_sentences,), key), torch.arange(n_sentences)
    return thinking_turns(keys, sentence, share=share, factor=factor).tolist()
