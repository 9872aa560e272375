"""Versions: which release of this package runs, and which of others are installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

VERSION = "0.1.0"
ABSENT: Final = "not installed"


def version_of(package: str) -> str:
    """Version of an installed package; `ABSENT` where it is not there.

    Of this package, run from a source tree that nobody installed, what its own code says:
    "0.1.0+not.installed".
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return f"{VERSION}+not.installed" if package == "reasonmech" else ABSENT
