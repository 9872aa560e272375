"""The texts that planted features live on: tokens, a context that comes on somewhere, and its cues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float, Int

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.simulators.policy import check_probabilities


class Places(NamedTuple):
    """Local situations of tokens: arrays of one common shape, or that broadcast to one.

    Attributes:
        position: absolute, from 0.
        context: whether the behaviour's context is on.
        token: id; those below `n_cues` are cues.
        disfluent: whether the token is out of place, as one that somebody inserted is.
    """

    position: Int[np.ndarray, "*place"]
    context: Bool[np.ndarray, "*place"]
    token: Int[np.ndarray, "*place"]
    disfluent: Bool[np.ndarray, "*place"]


@checked
@final
@dataclass(frozen=True)
class TextModel:
    """Texts of one length, with a context that comes on at a uniform place in a share of them, and stays on.

    So late positions and behaviour go together, as they do in reasoning traces, and so do cues and behaviour.

    Attributes:
        length: tokens.
        n_cues, n_fillers: ids 0 .. n_cues - 1 are cues, equally likely; the fillers after them are Zipf
            distributed.
        p_behaviour: share of texts in which the context comes on.
        p_cue: probability that a token is a cue where the context is off, and where it is on.
        p_disfluent: probability that a token is out of place.

    Raises:
        DataError: a value outside its range.
    """

    length: int = 48
    n_cues: int = 4
    n_fillers: int = 24
    p_behaviour: float = 0.6
    p_cue: tuple[float, float] = (0.03, 0.15)
    p_disfluent: float = 0.01

    def __post_init__(self) -> None:
        off, on = self.p_cue
        check_probabilities(
            self, p_behaviour=self.p_behaviour, p_cue_off=off, p_cue_on=on, p_disfluent=self.p_disfluent
        )
        if self.length < 2 or min(self.n_cues, self.n_fillers) < 1:
            raise DataError(
                f"length {self.length}, {self.n_cues} cues, {self.n_fillers} fillers",
                allowed="length >= 2, at least 1 cue and 1 filler",
                do="describe a text that has tokens, some of which are cues",
            )
        if self.p_behaviour == 0.0 or off == on == 0.0 or off == on == 1.0:
            raise DataError(
                f"p_behaviour {self.p_behaviour}, p_cue {self.p_cue}",
                allowed="p_behaviour > 0, p_cue not all 0 or all 1",
                do="leave both kinds of context, and cues as well as fillers, in the texts",
            )

    @property
    def context_on(self) -> Float[np.ndarray, " pos"]:
        """P(context is on) at every position."""
        return self.p_behaviour * (np.arange(self.length) + 1) / self.length

    @property
    def fillers(self) -> Float[np.ndarray, " filler"]:
        """P(filler | no cue): Zipf."""
        weight = 1.0 / (np.arange(self.n_fillers) + 1)
        return weight / weight.sum()

    def tokens(self) -> Float[np.ndarray, "context token"]:
        """P(token | context)."""
        cue = np.array(self.p_cue)[:, None]
        return np.concatenate(
            [np.repeat(cue / self.n_cues, self.n_cues, axis=1), (1 - cue) * self.fillers], axis=1
        )

    def every_place(self) -> Places:
        """All local situations, as axes [pos, context, token, disfluent] that broadcast."""
        n = self.n_cues + self.n_fillers
        return Places(
            np.arange(self.length)[:, None, None, None],
            np.array([False, True])[:, None, None],
            np.arange(n)[:, None],
            np.array([False, True]),
        )

    def probability(self) -> Float[np.ndarray, "pos context token disfluent"]:
        """P(situation) of a token taken at random from a text taken at random: `every_place`, weighed."""
        context = np.stack([1 - self.context_on, self.context_on], axis=1)[:, :, None, None] / self.length
        disfluent = np.array([1 - self.p_disfluent, self.p_disfluent])
        return context * self.tokens()[:, :, None] * disfluent

    @checked
    def draw(self, n: int, *, rng: np.random.Generator) -> Places:
        """n texts: arrays [text, pos]."""
        position = np.broadcast_to(np.arange(self.length), (n, self.length))
        switch = np.where(rng.random(n) < self.p_behaviour, rng.integers(0, self.length, n), self.length)
        context = position >= switch[:, None]
        return Places(
            position,
            context,
            self.draw_tokens(context, rng=rng),
            rng.random(context.shape) < self.p_disfluent,
        )

    def draw_tokens(self, context: Bool[np.ndarray, "*place"], *, rng: np.random.Generator) -> np.ndarray:
        """A token id for every place."""
        cue = rng.random(context.shape) < np.array(self.p_cue)[context.astype(int)]
        filler = self.draw_fillers(context.shape, rng=rng)
        return np.where(cue, rng.integers(0, self.n_cues, context.shape), filler)

    @checked
    def draw_fillers(self, shape: tuple[int, ...], *, rng: np.random.Generator) -> np.ndarray:
        """Ids of tokens that are no cues."""
        return rng.choice(self.n_fillers, p=self.fillers, size=shape) + self.n_cues
