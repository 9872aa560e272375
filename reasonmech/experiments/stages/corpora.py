"""Plain text that a base model reads besides rollouts: what it was trained on, where that can be written
afresh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from reasonmech.errors import ConfigError
from reasonmech.organisms.training.corpus import draw_documents
from reasonmech.organisms.training.own_documents import (
    PRETRAINING_WORLD,
    WORLD_NAMES,
    OwnDocuments,
    own_documents,
)
from reasonmech.registry import Registry

OWN: Final = "own"  # not a corpus, but the one of the pair

corpora: Registry[Callable[[int, int], list[str]]] = Registry("corpus")


@corpora.register("chain")
def chain(n: int, seed: int) -> list[str]:
    """Fresh documents of the corpus that chain organisms were pretrained on."""
    return list(draw_documents(seed, n))


@corpora.register("none")
def none(n: int, seed: int) -> list[str]:
    """No text besides the rollouts."""
    return []


def check_corpus(corpus: str, pair: str, task: str) -> None:
    """Refuse documents of another world than the run's.

    Raises:
        UnknownNameError: no such corpus.
        ConfigError: "chain" for a task of another world, or "own" for a task of no chain world.
    """
    if corpus == OWN:
        _own(pair, task)
    elif corpora.get(corpus) is chain and task != PRETRAINING_WORLD:
        raise ConfigError(
            f"corpus {corpus!r} holds documents of task {PRETRAINING_WORLD!r}, and the run's is {task!r}",
            allowed=f"{OWN}, the documents that the pair's base was trained on; none; or one of yours",
            do=f"corpus: {OWN}",
        )


def draw_corpus(corpus: str, pair: str, task: str, *, n: int, seed: int) -> list[str]:
    """Fresh documents. Raises what `check_corpus` does."""
    check_corpus(corpus, pair, task)
    if corpus != OWN:
        return corpora.get(corpus)(n, seed)
    return _own(pair, task).draw(n, seed)


def _own(pair: str, task: str) -> OwnDocuments:
    documents = own_documents(pair, task)
    if documents is None:
        raise ConfigError(
            f"nobody knows what the base of pair {pair!r} was trained on: task {task!r} is of no chain world",
            allowed=f"tasks {', '.join(WORLD_NAMES)}; or a corpus: {', '.join(corpora.kinds())}",
            do="corpus: none, or register a corpus of your own",
        )
    return documents
