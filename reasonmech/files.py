"""Files and directories that are written whole or not at all, whatever kills the process in between."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from safetensors import SafetensorError, safe_open

from reasonmech.errors import CorruptFileError, OutputError

if TYPE_CHECKING:
    import pandas as pd

UNFINISHED: Final = ".unfinished"  # ends the name of a file or folder that is being written
PLAN_FILE: Final = "plan.json"  # what a partial directory is part of (`resumable`)
RESUMABLE: Final = (PLAN_FILE, "stages")  # in a partial directory that somebody can still finish


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file or a folder under another name, which becomes `path` in one rename when the block ends.

    No reader ever sees half of it, and what stood there before stays until then. Its bytes are on the disk
    before its name is. An exception in the block leaves `path` as it was.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    path.parent.mkdir(parents=True, exist_ok=True)
    if unfinished.is_dir():  # a kill left it; a file is overwritten as it is
        shutil.rmtree(unfinished)
    try:
        yield unfinished
        flush(unfinished)  # before the rename: after a power cut a name without its bytes would look finished
    except Exception:
        _remove(unfinished)  # on a full disk half a file is in the way
        raise
    if path.is_dir():  # a rename replaces a file, but no folder that holds something
        shutil.rmtree(path)
    unfinished.replace(path)


def flush(path: Path) -> None:
    """Wait until a file, or every file of a folder, is on the disk."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as written:
                os.fsync(written.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one rename."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(text)


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as parquet in one rename."""
    with atomic_write(Path(path)) as unfinished:
        table.to_parquet(unfinished, index=False)


def partial_of(path: Path) -> Path:
    """Where a directory is written until it is complete."""
    return path.with_name(path.name + ".partial")


def check_new(path: str | Path) -> Path:
    """An output path at which nothing exists yet and whose parent can be written (it is created).

    Raises:
        OutputError: it exists, or its parent cannot be created or written.
    """
    path = Path(path).expanduser()
    if path.exists():
        raise OutputError(f"{path} exists already", do="choose another path, or delete it first")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path.parent} cannot be created: {error}", do="choose a directory you can write"
        ) from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path.parent} cannot be written", do="choose a directory you can write")
    return path


@contextmanager
def new_directory(path: str | Path) -> Iterator[Path]:
    """Write into `<path>.partial`, which is renamed to `path` when the block ends without an exception.

    What a killed `new_directory` left under the partial name is removed first: nothing ever reads it. What
    goes on after a kill is a `ResumableDirectory`.

    Raises:
        OutputError: `path` exists, cannot be written, or its partial is one that somebody can still finish.
    """
    path = check_new(path)
    partial = partial_of(path)
    if any((partial / name).exists() for name in RESUMABLE):
        raise OutputError(
            f"{partial} holds an unfinished capture, sweep or run of the same name",
            do="finish it, choose another path, or delete it; nothing was changed",
        )
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    yield partial
    flush(partial)
    partial.rename(path)


def check_safetensors(path: Path) -> None:
    """Check header and length. Raises CorruptFileError when the file is truncated or damaged."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(
            f"{path} is truncated or damaged: {error}", do="copy, download or write it again"
        ) from error
