"""Recipe: what a trainer of sparse coders needs to know, and under which key a coder records ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

CONFIG_FILE: Final = "cfg.json"  # of a coder in SAELens' layout
WEIGHT_FILE: Final = "sae_weights.safetensors"
RECORD: Final = "reasonmech"  # key of this library in an SAE's metadata
SINKS: Final = "sinks"  # key of which tokens its training left out
CURVE: Final = "curve"  # key of the training curve in that record
ROWS: Final = "rows"  # key of what one row is, where it is not the stream at a token
SENTENCES: Final = "sentences"  # value of ROWS: centred means over sentences, of unit norm


class Recipe(NamedTuple):
    """What `Training` needs to know: an architecture with its own settings, and a schedule in steps."""

    architecture: str
    settings: Mapping[str, Any]
    steps: int
    batch_size: int
    lr: float
    decay_steps: int
    dead_after: int
    seed: int
