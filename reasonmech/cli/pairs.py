"""`reasonmech pairs`: the base/thinking pairs that are known here."""

from __future__ import annotations

from typing import Final

from reasonmech.cli.console import make_console
from reasonmech.errors import UnknownNameError

WEIGHTS: Final = ("here", "to build", "to download", "unknown")  # of a pair: the worse of its two models


def pairs() -> None:
    """List the known base/thinking pairs and whether their weights are on this machine."""
    from rich.table import Table

    from reasonmech.hosts import pair_config, pair_names

    table = Table("pair", "base", "thinking", "task", "weights", header_style="bold")
    for config in map(pair_config, pair_names()):
        weights = max(map(_weights, (config.base, config.thinking)), key=WEIGHTS.index)
        table.add_row(config.name, config.base, config.thinking, config.task or "", weights)
    make_console().print(table)


def _weights(path: str) -> str:
    """Where the weights of a model are."""
    from reasonmech.organisms import is_here
    from reasonmech.paths import ORGANISM_PREFIX

    try:
        present = is_here(path)
    except UnknownNameError:  # an organism that no recipe is known for
        return "unknown"
    return "here" if present else "to build" if path.startswith(ORGANISM_PREFIX) else "to download"
