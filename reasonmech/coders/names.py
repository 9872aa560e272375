"""Names of coders that are trained into one directory: each is a folder there, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from reasonmech.arguments import check_type
from reasonmech.errors import ConfigError
from reasonmech.paths import why_no_name
from reasonmech.resumable import LOCK_FILE, RECORD_FILE


def check_names(names: Iterable[str], *, working: Collection[str]) -> None:
    """Hold names to what can be a folder beside the files that a training keeps there.

    Args:
        working: files that the training itself writes.

    Raises:
        ArgumentError: a name that is no string.
        ConfigError: one that leaves the directory, names a file of the training, would be cleared away, or
            differs from another by its case only, which some file systems do not tell apart.
    """
    taken = {name.casefold() for name in (*working, LOCK_FILE, RECORD_FILE)}
    for name in names:
        check_type(name, str, name="the name of a coder", allowed="a string")
        why = why_no_name(name)
        if name.casefold() in taken:
            why = "is that of a file of the training, or of another coder"
        elif ":" in name or name.endswith("."):
            why = "is none on some disks"
        if why:
            raise ConfigError(
                f"a coder is named {name!r}, which {why}",
                allowed="names of one folder each, such as 'wide' or 'k 8': they stand under out=",
            )
        taken.add(name.casefold())
