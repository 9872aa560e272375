"""Plain text that a base model reads besides rollouts: what it was pretrained on, where that can be written
afresh."""

from __future__ import annotations

from collections.abc import Callable

from reasonmech.organisms.training.corpus import draw_documents
from reasonmech.registry import Registry

corpora: Registry[Callable[[int, int], list[str]]] = Registry("corpus")


@corpora.register("chain")
def chain(n: int, seed: int) -> list[str]:
    """Fresh documents of the corpus that chain organisms were pretrained on."""
    return list(draw_documents(seed, n))


@corpora.register("none")
def none(n: int, seed: int) -> list[str]:
    """No text besides the rollouts."""
    return []
