"""OutputPath: a path that somebody gave to be written to, if a disk can have it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from reasonmech.errors import OutputError

LONGEST: Final = 230  # bytes of a name: the disks' 255, less the ends that it is given meanwhile


def output_path(path: str | Path) -> Path:
    """The path that somebody meant, "~" written out.

    Raises:
        OutputError: no disk can have it (a NUL, a name too long, text that is no UTF-8), nobody has such a
            home, or it is a link to what is not there.
    """
    text = str(path)
    try:
        text.encode()
        meant = Path(text).expanduser()
    except UnicodeEncodeError as error:
        raise OutputError(f"the path {text!a} is no text", do="choose a name in UTF-8") from error
    except RuntimeError as error:
        raise OutputError(
            f"{text!r}: nobody here has the home {text.split('/')[0]}", do="write it out"
        ) from error
    if "\0" in text:
        raise OutputError(f"the path {text!r} holds a NUL", do="choose a name without it")
    longest = max((len(part.encode()) for part in meant.parts), default=0)
    if longest > LONGEST:
        raise OutputError(
            f"the path {text[:40]}... holds a name of {longest} bytes",
            allowed=f"at most {LONGEST}",
            do="choose a shorter name",
        )
    if is_dangling(meant):
        raise OutputError(
            f"{meant} is a link to {os.readlink(meant)}, which is not there",
            do="choose another path, or delete the link",
        )
    return meant


def is_dangling(path: Path) -> bool:
    """Whether it is a link to nothing."""
    return path.is_symlink() and not path.exists()


def check_own(partial: Path) -> None:
    """Raise OutputError where something that we never made stands where a directory is written."""
    if partial.is_symlink() or (partial.exists() and not partial.is_dir()):
        raise OutputError(
            f"{partial} is a {'link' if partial.is_symlink() else 'file'}, which we never made",
            do="choose another path, or move it away; nothing was changed",
        )
