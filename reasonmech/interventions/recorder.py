"""Recorder: what hooks tell of their passes. A receipt's tally implements it; hooks know no receipt."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Recorder(Protocol):
    """Told of every pass that hooks run in; `i` is an intervention's number in the bound plan."""

    def saw(self, i: int, n_tokens: int, n_masked: int) -> None:
        """Intervention `i` met a pass with so many real tokens, so many of them named by its mask."""
        ...

    def fired(
        self,
        i: int,
        before: Float[Tensor, "token d_model"],
        after: Float[Tensor, "token d_model"],
        weight: Float[Tensor, " token"] | None,
    ) -> None:
        """Intervention `i` changed these tokens; no weight means fully open."""
        ...

    def mark(self) -> Any:
        """What was recorded so far; `back_to` takes back what came since."""
        ...

    def back_to(self, mark: Any) -> None:
        """Forget a pass that failed and is done again."""
        ...
