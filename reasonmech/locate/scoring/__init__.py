"""One score of features a file: what it asks, for all features at once, with intervals by problem.

Every module of this folder is imported with it, so that a new score is found by its kind and listed nowhere.
"""

from importlib import import_module
from pkgutil import iter_modules


def import_siblings() -> None:
    """Import every module of the folder: each registers its score."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")


import_siblings()
