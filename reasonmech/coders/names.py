"""Names of coders that are trained into one directory: each is a folder there, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from reasonmech.arguments import check_type
from reasonmech.errors import ConfigError
from reasonmech.files import UNFINISHED
from reasonmech.resumable import LOCK_FILE, RECORD_FILE

SEPARATORS: Final = "/\\:\0"
ENDS: Final = (UNFINISHED, ".partial", ".", " ")  # the first two of what is cleared away as half written
LONGEST: Final = 200  # bytes; a file system takes 255, of which the name of a half-written folder needs some


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
        why = ""
        if not name.strip() or name.startswith((".", " ")) or name.endswith(ENDS):
            why = "no name, or one that begins or ends as files of the training do"
        elif any(sign in name for sign in SEPARATORS) or not name.isprintable():
            why = "not one folder"
        elif name.casefold() in taken:
            why = "taken by a file of the training, or by another coder"
        elif len(name.encode()) > LONGEST:
            why = f"longer than {LONGEST} bytes"
        if why:
            raise ConfigError(
                f"a coder named {name!r}: {why}",
                allowed="names of one folder each, such as 'wide' or 'k 8': they stand under out=",
            )
        taken.add(name.casefold())
