"""The paired 2x2 {neutral, behaviour} x {cue absent, present} with placebos: more than cue tokens?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
from jaxtyping import Bool, Float, Int

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.ranges import Seed
from reasonmech.simulators.planted import PlantedDictionary, PlantedTexts, embed
from reasonmech.simulators.texts import Places, TextModel

Inserted = Literal["absent", "cue", "placebo"]
INSERTED: Final[tuple[Inserted, ...]] = ("absent", "cue", "placebo")


@final
@dataclass(frozen=True, eq=False)
class PlantedCells:
    """Six versions of every text, read at the slot.

    Attributes:
        texts: (behaviour?, what was inserted) -> texts; text i has the same fillers in all six.
        slot: (behaviour?) -> [text] the position that is read, where something was inserted or nothing.
    """

    texts: dict[tuple[bool, Inserted], PlantedTexts]
    slot: dict[bool, Int[np.ndarray, " text"]]

    @checked
    def read(self, *, behaviour: bool, inserted: Inserted) -> Float[np.ndarray, "text feature"]:
        """True activations at the slot."""
        return self._at_slot(self.texts[behaviour, inserted].activations, behaviour)

    @checked
    def residual(self, *, behaviour: bool, inserted: Inserted) -> Float[np.ndarray, "text d_model"]:
        """The stream at the slot."""
        return self._at_slot(self.texts[behaviour, inserted].residual, behaviour)

    def _at_slot(self, values: np.ndarray, behaviour: bool) -> np.ndarray:
        return values[np.arange(len(values)), self.slot[behaviour]]


def slot_probability(
    text: TextModel, *, behaviour: bool, position_matched: bool
) -> Float[np.ndarray, " pos"]:
    """P(slot): where tokens of such a text are; position-matched, where those of a behaviour text are."""
    weight = text.context_on if behaviour or position_matched else 1.0 - text.context_on
    return weight / weight.sum()


@checked
def planted_cells(
    dictionary: PlantedDictionary, *, n: int, seed: Seed = 0, position_matched: bool = True
) -> PlantedCells:
    """n texts in six versions each.

    A cue, or a filler as placebo, is inserted at the slot: it is out of place there, and the rest moves one
    place to the right. Without an insertion the slot holds a filler that is in its place. Matched, a text's
    slot is the same in both contexts; unmatched, neutral texts are read where neutral tokens are found, which
    is earlier.

    Raises:
        DataError: n < 1.
    """
    text = dictionary.text
    if n < 1:
        raise DataError(f"{n} texts", allowed="n >= 1", do="draw at least one")
    rng = np.random.default_rng([seed, 5])
    late = rng.choice(text.length, size=n, p=slot_probability(text, behaviour=True, position_matched=True))
    early = rng.choice(text.length, size=n, p=slot_probability(text, behaviour=False, position_matched=False))
    slot = {True: late, False: late if position_matched else early}
    fillers = text.draw_fillers((n, text.length), rng=rng)
    cue, placebo = rng.integers(0, text.n_cues, n), text.draw_fillers((n,), rng=rng)
    # In a behaviour text the context has come on by the slot, at a place drawn uniformly before it.
    switch = (rng.random(n) * (late + 1)).astype(int)
    cells: dict[tuple[bool, Inserted], PlantedTexts] = {}
    for behaviour in (False, True):
        context = (np.arange(text.length) >= switch[:, None]) & behaviour
        for inserted, token in zip(INSERTED, (None, cue, placebo), strict=True):
            places = _insert(fillers, token, slot=slot[behaviour], context=context)
            cells[behaviour, inserted] = embed(dictionary, places, rng=rng)
    return PlantedCells(cells, slot)


def _insert(
    tokens: Int[np.ndarray, "text pos"],
    token: Int[np.ndarray, " text"] | None,
    *,
    slot: Int[np.ndarray, " text"],
    context: Bool[np.ndarray, "text pos"],
) -> Places:
    """The places of a text into which `token`, or nothing, is inserted at the slot."""
    position = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
    at_slot = position == slot[:, None]
    if token is None:
        return Places(position, context, tokens, np.zeros_like(at_slot))
    source = position - (position > slot[:, None])  # what comes after the slot moves one place to the right
    shifted = np.take_along_axis(tokens, source, axis=1)
    return Places(position, context, np.where(at_slot, token[:, None], shifted), at_slot)
