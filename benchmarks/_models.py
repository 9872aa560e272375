"""Random models of two sizes, and texts for them: speed does not depend on what the weights are."""

from __future__ import annotations

import torch

import reasonmech as rm
from reasonmech.testing import tiny_host

VOCAB = 4096
SHAPES = {"tiny": {"n_layers": 4, "d_model": 64}, "mid": {"n_layers": 8, "d_model": 384}}


def make_host(size: str) -> rm.Host:
    """A random Qwen2 of 4 layers and 64 dimensions ("tiny"), or of 8 and 384 ("mid"), that never ends a text."""
    torch.set_num_threads(1)
    host = tiny_host("qwen2", vocab_size=VOCAB, **SHAPES[size])
    with torch.no_grad():
        host.unembedding()[host.eos_id] = 0
    return host


def random_ids(rows: int, length: int, *, seed: int = 0) -> torch.Tensor:
    """[row, pos] ids of ordinary words."""
    return torch.randint(10, VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def as_texts(host: rm.Host, ids: torch.Tensor) -> list[str]:
    """The same as text; the tokenizer is one word, one token."""
    return [" ".join(host.tokenizer.convert_ids_to_tokens(row)) for row in ids.tolist()]
