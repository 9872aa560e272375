"""Tests ask nothing of the network: a name that is on no disk here is unknown at once."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = (
    "1"  # read when transformers is imported; processes that tests start inherit it
)
