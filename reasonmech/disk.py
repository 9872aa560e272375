"""The disk: sizes and costs in words, how much room is left, and what a failed write tells the user."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from safetensors import SafetensorError

from reasonmech.errors import OutputError

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
AGAIN: Final = "make room, and make the same call again: it goes on where it stopped"


def format_bytes(n: float) -> str:
    """A size in powers of 1000: "2.56 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n < 999.5:  # what rounds to 1000 is written in the next unit, not as "1e+03"
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"


def format_duration(seconds: float) -> str:
    """A time in its largest sensible unit: "12 s", "3 min", "2 h 5 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def format_cost(n_bytes: float, seconds: float | None) -> str:
    """What a job will take: "about 3 min, 2.56 GB"; a time that was not measured is left out."""
    duration = "" if seconds is None else f"about {format_duration(seconds)}, "
    return f"{duration}{format_bytes(n_bytes)}"


def free_bytes(path: Path) -> int:
    """Free bytes of the disk on which a path is, or will be."""
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free


def check_room(path: Path, n_bytes: int, *, do: str) -> None:
    """Raise OutputError where a path's disk has less room than is to be written to it."""
    free = free_bytes(path)
    if free < n_bytes:
        raise OutputError(
            f"{format_bytes(n_bytes)} are to be written to {path} and {format_bytes(free)} are free: "
            f"{format_bytes(n_bytes - free)} are missing",
            do=do,
        )


def is_full(error: BaseException) -> bool:
    """Whether a write failed because there is no room."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    # safetensors raises an error of its own, which names the number in its message only
    return any(f"os error {number})" in str(error) for number in FULL)


@contextmanager
def explain_full_disk(path: Path, *, full: str = "the disk is full", do: str = AGAIN) -> Iterator[None]:
    """Turn a write for which there is no room into an error that says what is there and what to do.

    Args:
        full: what is written, how much is missing.
        do: what to do now.

    Raises:
        OutputError: there is no room.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not is_full(error):
            raise
        free = format_bytes(free_bytes(path))
        raise OutputError(f"cannot write {path}: {error}; {full}; {free} are free", do=do) from error


@contextmanager
def explain_failed_writes(path: Path, *, full: str = "the disk is full", do: str = AGAIN) -> Iterator[None]:
    """The same, around a block that does nothing but write: any error of the system is one of writing.

    Raises:
        OutputError: there is no room, or it cannot be written.
    """
    try:
        with explain_full_disk(path, full=full, do=do):
            yield
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write {path}: {error}", do="choose a directory you can write") from error
