"""Recorder: what hooks tell of their passes. A receipt's recorder implements it; hooks know no receipt."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Recorder(Protocol):
    """Told of every pass that hooks run in; `i` is an intervention's number in the bound plan."""

    def count_masked(self, i: int, n_tokens: int, n_masked: int) -> None:
        """Intervention `i` met a pass with so many real tokens, so many of them named by its mask."""
        ...

    def record_edit(
        self,
        i: int,
        before: Float[Tensor, "token d_model"],
        after: Float[Tensor, "token d_model"],
        weight: Float[Tensor, " token"] | None,
    ) -> None:
        """Intervention `i` edited these tokens; no weight means that its gate was fully open."""
        ...

    def snapshot(self) -> Any:
        """What was recorded so far; `restore` goes back to it."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Forget a pass that failed and is done again."""
        ...
