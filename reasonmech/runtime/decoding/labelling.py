"""Labels of texts that grow: what `labelled(name)` sees during generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Int
from torch import Tensor

from reasonmech.errors import BindError
from reasonmech.shapes import Mask, Tokens
from reasonmech.step import CausalLabeller


@final
class LabelBuffer:
    """Marks of every row so far, per label; calls each labeller once per row and pass."""

    def __init__(self, labellers: Mapping[str, CausalLabeller], batch: int, room: int) -> None:
        self._labellers = labellers
        self._marks = {name: torch.zeros(batch, room, dtype=torch.bool) for name in labellers}
        self._n_marked = 0  # columns whose marks are final

    def extend(self, ids: Tokens, mask: Mask, prompt_length: Int[Tensor, " batch"]) -> dict[str, Mask]:
        """Marks of all tokens so far.

        Raises:
            BindError: a labeller marked an earlier token differently than before, or returned another number
                of marks.
        """
        width = ids.shape[1]
        for name, labeller in self._labellers.items():
            for row, length in enumerate(prompt_length.tolist()):
                text = ids[row][mask[row]].tolist()
                marks = torch.as_tensor(labeller(text, length), dtype=torch.bool)
                if marks.shape != (len(text),):
                    raise BindError(
                        f"labeller {name!r} returned marks of shape {tuple(marks.shape)} for {len(text)} "
                        "tokens",
                        allowed="one mark for every token so far",
                    )
                self._store(name, row, marks, mask[row])
        self._n_marked = width
        return {name: marks[:, :width] for name, marks in self._marks.items()}

    def _store(self, name: str, row: int, marks: Tensor, real: Tensor) -> None:
        stored = self._marks[name][row]
        earlier = stored[: self._n_marked][real[: self._n_marked]]
        if not torch.equal(earlier, marks[: len(earlier)]):
            raise BindError(
                f"labeller {name!r} changed its mind about a token it had seen: it is not causal",
                allowed="labellers whose marks never change when the text grows",
                do="read only tokens up to the one that is marked",
            )
        stored[: len(real)][real] = marks

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Drop all rows but these."""
        self._marks = {name: marks[rows] for name, marks in self._marks.items()}
