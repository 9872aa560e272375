"""Lock: a directory that one process writes; whoever comes second is told who holds it, and since when."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Final

from reasonmech.errors import OutputError

LOCK_FILE: Final = ".lock"


@contextmanager
def only_holder(file: Path, directory: Path) -> Iterator[None]:
    """Hold a lock on a file, which stands for a directory that several processes may reach.

    The kernel lets go when the process dies, however it dies: a file that is left locks nobody out. While it
    is held it says who holds it, for the error of whoever comes second.

    Raises:
        OutputError: another process, or another thread, holds it (which, and since when), or it cannot be
            written.
    """
    try:
        lock = file.open("ab", buffering=0)  # a buffer would keep what a full disk refused, for the close
    except OSError as error:
        raise OutputError(
            f"cannot write {directory}: {error.strerror}", do="choose a directory you can write"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"another process is writing {directory}{_holder(file)}",
                do="wait for it, or choose another output directory",
            ) from error
        now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        _write(lock, f"{_me()}, since {now}\n")
        try:
            yield
        finally:
            _write(lock, "")


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _write(lock: FileIO, line: str) -> None:
    with suppress(OSError):  # on a full disk the holder has no name, and what it writes fails by itself
        lock.truncate(0)
        lock.write(line.encode())


def _holder(file: Path) -> str:
    """Who holds a lock, in words; empty where that was not written, or not yet."""
    with suppress(OSError, UnicodeDecodeError):
        line = file.read_text(encoding="utf-8").strip()
        if ", since " in line:
            mine = line.startswith(f"{_me()},")
            return f": {line}{' (this process, in another thread or call)' if mine else ''}"
    return ""
