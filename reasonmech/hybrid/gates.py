"""Gates and selectors: when to steer, and towards which category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hybrid.parts import Moment
from reasonmech.kinds import Openings
from reasonmech.ranges import Seed
from reasonmech.runtime.decoding.decode import choose
from reasonmech.runtime.decoding.noise import gumbel
from reasonmech.shapes import NextLogits

_GATE_SALT: Final = 0x5EED_0001
_CATEGORY_SALT: Final = 0x5EED_0002
_KIND_SALT: Final = 0x5EED_0003


@checked
@dataclass(frozen=True)
class DisagreementGate:
    """Open where the two models would write different tokens, or one with which only the base would end.

    Attributes:
        boundaries: only where a sentence begins. What makes a model begin one, such as a feature that goes
            with an onset word, makes it begin again and again where it is written into the middle of one.
    """

    boundaries: bool = False

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        return moment.apart & moment.boundary if self.boundaries else moment.apart


@dataclass(frozen=True, eq=False)
class KindGate:
    """Open where a sentence begins and the two models would begin sentences of different kinds.

    A kind is as probable as all of its first words together: models that differ in the word agree. At a
    temperature the kinds are drawn, under noise that both models share. Where the gate is closed the base
    writes what it would write, which may be a word of another kind than its likeliest one.

    Attributes:
        openings: first tokens of every kind, among the tokens that both models have.
    """

    openings: Openings

    def with_ends(self, ends: Sequence[int]) -> KindGate:
        return KindGate(self.openings.with_ends(ends))

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        base, thinking = (self._kinds(logits, moment) for logits in (moment.base, moment.thinking))
        return ((base != thinking) | moment.base_alone_ends) & moment.boundary

    def _kinds(self, logits: NextLogits, moment: Moment) -> Int[Tensor, " batch"]:
        """Column of the kind that a model would begin, per row (CPU)."""
        kinds, keys, position = self.openings.of_kinds(logits).cpu(), moment.keys, moment.position
        return choose(kinds, temperature=moment.temperature, keys=keys ^ _KIND_SALT, position=position).tokens


@checked
@dataclass(frozen=True)
class FormatGate:
    """Open where a sentence begins, the thinking model would state its answer or end, and the base would
    begin no sentence of reasoning: it passes how an answer comes out, and never that one is due.

    Attributes:
        answer: categories that state an answer, and the end of a text.
        reasoning: categories that the base may not be taken out of.
    """

    answer: tuple[int, ...]
    reasoning: tuple[int, ...]

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        states = torch.isin(moment.category, torch.tensor(self.answer))
        goes_on = torch.isin(moment.base_category, torch.tensor(self.reasoning))
        return moment.apart & states & ~goes_on & moment.boundary


@checked
@dataclass(frozen=True)
class AtRandom:
    """Null: open at positions drawn with a fixed probability, blind to both models.

    Attributes:
        rate: probability per token.
    """

    rate: float
    seed: Seed = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise DataError(
                f"a gate that opens at rate {self.rate}", allowed="a probability per token, 0 to 1"
            )

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        noise = gumbel(moment.keys ^ (_GATE_SALT + self.seed), moment.position, 1)[:, 0]
        return torch.exp(-torch.exp(-noise)) < self.rate  # the Gumbel noise back to a uniform number


@checked
@dataclass(frozen=True)
class OfThinking:
    """The category of the token that the thinking model would write.

    Attributes:
        among: where this holds categories and that one is none of them, one of these is drawn instead. A null
            with random positions needs it: most positions belong to categories without a vector, and a gate
            that opens there in vain would steer less than it claims.
    """

    among: tuple[int, ...] = ()
    seed: Seed = 0

    def select(self, moment: Moment) -> Int[Tensor, " batch"]:
        if not self.among:
            return moment.category
        other = _draw(moment, self.among, self.seed, avoid=None)
        return torch.where(torch.isin(moment.category, torch.tensor(self.among)), moment.category, other)


@checked
@dataclass(frozen=True)
class WrongCategory:
    """Null: a category drawn evenly from `among`, never the one of the thinking model."""

    among: tuple[int, ...]
    seed: Seed = 0

    def select(self, moment: Moment) -> Int[Tensor, " batch"]:
        return _draw(moment, self.among, self.seed, avoid=moment.category)


def _draw(
    moment: Moment, among: tuple[int, ...], seed: int, *, avoid: Int[Tensor, " batch"] | None
) -> Int[Tensor, " batch"]:
    """One category per row, drawn evenly, keyed by the row and its position."""
    choices = torch.tensor(among)
    noise = gumbel(moment.keys ^ (_CATEGORY_SALT + seed), moment.position, len(among))
    if avoid is not None:
        noise[choices[None, :] == avoid[:, None]] = -torch.inf
    return choices[noise.argmax(-1)]
