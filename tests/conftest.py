"""Tests ask nothing of the network: a name that is on no disk here is unknown at once. What is imported and
collected before the first test is not searched for garbage again and again (a fifth of the collection)."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

os.environ["HF_HUB_OFFLINE"] = (
    "1"  # read when transformers is imported; processes that tests start inherit it
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
