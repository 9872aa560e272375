"""Importing a peer library changes nobody's logging and warnings."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

from reasonmech.quiet import quiet_import

REAL = """
import logging, warnings
import transformers
from reasonmech.quiet import quiet_import

logger = logging.getLogger("transformers")
logger.setLevel(logging.INFO)
before = list(warnings.filters)
with quiet_import():
    import transformer_lens
assert "transformer_lens" and logger.level == logging.INFO, logger.level
ours = [f for f in warnings.filters if f not in before and "transformer_lens" in str(f)]
assert not ours and warnings.filters[0] == before[0], (warnings.filters[:3], before[:3])
"""


def test_level_and_filters_come_back_after_an_exception_too() -> None:
    logger = logging.getLogger("transformers")
    level, filters = logger.level, list(warnings.filters)
    try:
        with quiet_import():
            logger.setLevel(logging.CRITICAL)
            warnings.simplefilter("ignore")
            raise ImportError
    except ImportError:
        pass
    assert logger.level == level and list(warnings.filters) == filters


def test_importing_transformer_lens_leaves_logging_and_warnings_as_they_were() -> None:
    done = subprocess.run([sys.executable, "-W", "default", "-c", REAL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
