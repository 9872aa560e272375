"""Files and directories that are written whole or not at all, whatever kills the process in between."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from safetensors import SafetensorError, safe_open

from reasonmech.disk import explain_failed_writes, explain_full_disk
from reasonmech.errors import CorruptFileError, DataError, OutputError
from reasonmech.lock import LOCK_FILE, only_holder
from reasonmech.output_path import check_own, output_path

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
UNFINISHED: Final = ".unfinished"  # ends the name of a file or folder that is being written
PLAN_FILE: Final = "plan.json"  # what a partial directory is part of (`resumable`)
RECORD_FILE: Final = "record.json"
RESUMABLE: Final = (PLAN_FILE, "stages")  # in a partial directory that somebody can still finish
MARK_FILE: Final = ".reasonmech"  # in a partial directory that nobody can finish: what we may remove
MARK: Final = b"An unfinished save of reasonmech, which removes this directory when it is made again.\n"
LEFTOVER_FILE: Final = ".leftover"  # names of what is still to be removed from a finished directory
OURS: Final = (UNFINISHED, ".partial", ".work")  # ends of names of what is being written


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file or a folder under another name, which becomes `path` in one rename when the block ends.

    For files and folders inside a directory that is ours; what a caller names is a `new_file` or a
    `new_directory`. No reader ever sees half of it, and what stood there before stays until then. Its bytes
    are on the disk before its name is. An exception in the block leaves `path` as it was.

    Raises:
        OutputError: a file is to stand where a folder is.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    path.parent.mkdir(parents=True, exist_ok=True)
    if unfinished.is_symlink():  # ours are none
        unfinished.unlink()
    elif unfinished.is_dir():  # a kill left it; a file is overwritten as it is
        shutil.rmtree(unfinished)
    try:
        yield unfinished
        flush(unfinished)  # before the rename: after a power cut a name without its bytes would look finished
    except Exception:
        remove(unfinished)  # on a full disk half a file is in the way
        raise
    if path.is_dir():  # a rename replaces a file, but no folder that holds something
        if not unfinished.is_dir():
            remove(unfinished)
            raise OutputError(f"{path} is a directory", do="choose the name of a file in it")
        shutil.rmtree(path)
    unfinished.replace(path)


def flush(path: Path) -> None:
    """Wait until a file, or every file of a folder, is on the disk."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as written:
                os.fsync(written.fileno())


def remove(path: Path) -> None:
    """Remove a file, or a folder with everything in it; of a link, the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file of ours in one rename."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table of ours as parquet in one rename."""
    with atomic_write(Path(path)) as unfinished:
        table.to_parquet(unfinished, index=False)


def partial_of(path: Path) -> Path:
    """Where a directory is written until it is complete."""
    return path.with_name(path.name + ".partial")


def _reader_of(path: Path) -> str:
    """What reads a result that is there already, where it shows of what kind it is."""
    coders = sorted(path.glob("**/cfg.json"))
    if (path / "record.json").is_file() and (path / "config.yaml").is_file():
        return f"; the run that is finished there is shown by: reasonmech show {path}"
    if (path / "record.json").is_file() and (path / "index").is_dir():
        return f"; the store that is finished there is read by: rm.Activations.load({str(path)!r})"
    if coders:
        coder = str(coders[0].parent)
        return f"; the coders that are finished there are read by: rm.load_coder({coder!r}, host=host)"
    return ""


def check_new(path: str | Path) -> Path:
    """An output path at which nothing exists yet and whose parent can be written (it is created).

    Raises:
        OutputError: it exists, or its parent cannot be created or written.
    """
    path = output_path(path)
    if path.exists():
        remove_leftovers(path)
        do = f"choose another path, or delete it first{_reader_of(path)}"
        raise OutputError(f"{path} exists already", do=do)
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
    """Write a directory that appears as `path`, in one rename, when the block ends without an exception.

    Until then it lies in `<path>.partial`, which bears our mark: what a killed `new_directory` left there is
    removed first, since nothing ever reads it, and nothing else is. What goes on after a kill is a
    `ResumableDirectory`.

    Raises:
        OutputError: `path` exists, cannot be written, its partial is not one of these, another process is
            writing it, or the disk is full.
    """
    path = check_new(path)
    partial, again = partial_of(path), "make room, and make the same call again"
    with explain_failed_writes(partial, do=again):
        mark(partial)
    with only_holder(partial / LOCK_FILE, partial):
        for left in partial.iterdir():
            if left.name not in (MARK_FILE, LOCK_FILE):
                remove(left)
        whole = partial / path.name
        whole.mkdir()
        try:
            with explain_full_disk(path, do=again):
                yield whole
                flush(whole)
            with explain_failed_writes(path, do=again):
                check_new(path)  # again: somebody may have written it meanwhile
                whole.rename(path)
        except Exception:
            shutil.rmtree(partial)  # on a full disk half a directory is in the way
            raise
        shutil.rmtree(partial)


def remove_leftovers(directory: Path) -> None:
    """Remove from a finished directory the working files that it lists: a kill came before they were gone."""
    file = directory / LEFTOVER_FILE
    if not file.is_file():
        return
    # it is only read, another process removes them at this moment, or the list is not one of ours
    with suppress(OSError, ValueError):
        names = json.loads(file.read_bytes())
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return
        for name in names:
            if name and Path(name).name == name and name != "..":  # its own entries, nothing beside it
                remove(directory / name)
        file.unlink()


def is_marked(directory: Path) -> bool:
    """Whether a directory bears our mark: we made it, and may remove it."""
    file = directory / MARK_FILE
    return file.is_file() and file.read_bytes() == MARK


def mark(directory: Path) -> None:
    """Make a directory that bears our mark. Raises OutputError where one without it holds something."""
    check_own(directory)
    if is_marked(directory):
        return
    if any((directory / name).exists() for name in RESUMABLE):
        raise OutputError(
            f"{directory} holds an unfinished capture, sweep or run of the same name",
            do="finish it, choose another path, or delete it; nothing was changed",
        )
    names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    file = directory / MARK_FILE
    # a kill before or while the mark is written leaves nothing, or a part of it
    if names and not (names == [MARK_FILE] and file.is_file() and MARK.startswith(file.read_bytes())):
        raise OutputError(
            f"{directory} is no interrupted save of ours: it holds {', '.join(names[:4])}",
            do="choose another path, or move it away; nothing was changed",
        )
    new = not directory.exists()
    try:
        directory.mkdir(exist_ok=True)
        file.write_bytes(MARK)
    except OSError:
        with suppress(OSError):  # an empty folder that was there is nobody's to remove
            file.unlink(missing_ok=True)
            if new:
                directory.rmdir()
        raise


@contextmanager
def new_file(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Write a file that a caller has named, under a name of its own until the block ends.

    Args:
        overwrite: replace a file that is there. A directory is never replaced.

    Raises:
        OutputError: it is there, or cannot be written; what was there stays as it was.
    """
    path = output_path(path)

    def check() -> None:
        if path.is_dir():
            raise OutputError(f"{path} is a directory", do="choose the name of a file in it")
        if path.exists() and not overwrite:
            raise OutputError(
                f"{path} exists already", do="choose another path, or say that it is to go: overwrite=True"
            )

    check()
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    with explain_failed_writes(path, do="make room, and make the same call again"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            flush(unfinished)
            check()  # again: somebody may have written it meanwhile
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def save_text(path: str | Path, text: str, *, overwrite: bool = False) -> Path:
    """Write a text file that a caller has named. Raises OutputError as `new_file`."""
    with new_file(path, overwrite=overwrite) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return Path(path).expanduser()


def save_table(table: pd.DataFrame, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a table as parquet where a caller has named. Raises OutputError as `new_file`."""
    with new_file(path, overwrite=overwrite) as unfinished:
        table.to_parquet(unfinished, index=False)


def load_table(path: str | Path, make: Callable[[pd.DataFrame], T], *, what: str, do: str) -> T:
    """What `make` makes of a table that `save_table` wrote.

    Args:
        what: it is, for the error: "a patch grid".
        do: what gives the file again.

    Raises:
        CorruptFileError: the file is missing, damaged, or another table.
    """
    import pandas as pd
    import pyarrow

    try:
        return make(pd.read_parquet(Path(path).expanduser()))
    except (OSError, ValueError, pyarrow.ArrowException, DataError) as error:
        raise CorruptFileError(
            f"{path} is not {what}: {error}",
            allowed="what was saved there",
            do=f"give the file that was saved, or {do}",
        ) from error


def check_safetensors(path: Path) -> None:
    """Check header and length. Raises CorruptFileError when the file is truncated or damaged."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(
            f"{path} is truncated or damaged: {error}", do="copy, download or write it again"
        ) from error
