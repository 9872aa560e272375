"""Importing a library without its side effects on logging and warnings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_import() -> Iterator[None]:
    """Undo what transformer_lens 3.9 does when it is imported: it sets the `transformers` logger to errors
    only, adds a warning filter, and warns of its own deprecations. sae_lens imports it.
    """
    logger = logging.getLogger("transformers")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            yield
        finally:
            logger.setLevel(level)
