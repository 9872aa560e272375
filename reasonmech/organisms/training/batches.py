"""Batches of a corpus: documents laid end to end, a function of seed and step alone."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from reasonmech.organisms.training.corpus import IDS, Author, Modes, Word
from reasonmech.tasks.chain.world import CHAIN, World

UNLEARNT: Final = -100  # the label that torch's cross-entropy ignores by default


class TokenBatch(NamedTuple):
    """Token ids and what is to be learnt of them.

    Attributes:
        ids: int64.
        labels: the ids again, but `UNLEARNT` where the environment wrote, or nobody.
    """

    ids: Int[Tensor, "row pos"]
    labels: Int[Tensor, "row pos"]


class BatchShape(NamedTuple):
    """Rows of a batch and tokens of a row."""

    rows: int
    length: int


class Mix(NamedTuple):
    """Shares of skill documents among problems and skills, and of copying drills among all."""

    skills: float
    drills: float = 0.0


def draw_batch(
    seed: int, step: int, *, modes: Modes, mix: Mix, shape: BatchShape, world: World = CHAIN
) -> TokenBatch:
    """The batch of one training step: a pure function of (seed, step).

    Documents are laid end to end; every row begins with a fresh document and is cut at `shape.length`.
    """
    # One random stream for the whole batch: the order of rows and documents decides what each of them says.
    author = Author(random.Random(f"corpus|{seed}|{step}"), modes, world)
    ids, labels = [], []
    for _ in range(shape.rows):
        words: list[Word] = []
        while len(words) < shape.length:
            words += author.write_document(mix.skills, mix.drills)
        row = words[: shape.length]
        ids.append([IDS[word.text] for word in row])
        labels.append([IDS[word.text] if word.learnt else UNLEARNT for word in row])
    return TokenBatch(torch.tensor(ids), torch.tensor(labels))
