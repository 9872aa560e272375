"""Files: where shipped ones live, how a config is read, directories that appear only when complete."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open

from reasonmech.errors import ConfigError, CorruptFileError, OutputError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

M = TypeVar("M", bound=BaseModel)

_PACKAGE: Final = Path(__file__).resolve().parent
ORGANISM_PREFIX: Final = "organism:"
CACHE_VARIABLE: Final = "REASONMECH_CACHE"
PLAN_FILE: Final = "plan.json"  # of a capture or a sweep that a kill interrupted
LOCK_FILE: Final = ".lock"
RESUMABLE: Final = (
    PLAN_FILE,
    "stages",
)  # in a partial directory: a capture's, a sweep's or a run's, which goes on


def config_dir() -> Path:
    """Directory of the shipped configurations: `sae_configs/` of a checkout, else the copy inside the
    wheel."""
    in_checkout, in_wheel = _PACKAGE.parent / "sae_configs", _PACKAGE / "_sae_configs"
    return in_checkout if in_checkout.is_dir() else in_wheel


def cache_dir() -> Path:
    """Directory of what can be built again: $REASONMECH_CACHE where it is set, else `~/.cache/reasonmech`."""
    return Path(os.environ.get(CACHE_VARIABLE, "~/.cache/reasonmech")).expanduser()


def organism_dir() -> Path:
    """Directory of the shipped organisms' weights."""
    return _PACKAGE / "organisms" / "weights"


def resolve(path: str | Path) -> Path | None:
    """A local path: "organism:tiny-when/base" points at shipped weights, "~" at home. None where nothing is
    there.

    Raises:
        UnknownNameError: no such organism is shipped; those that are shipped are listed.
    """
    text = str(path)
    if text.startswith(ORGANISM_PREFIX):
        found = organism_dir() / text.removeprefix(ORGANISM_PREFIX)
        if not found.exists():
            shipped = sorted(
                p.relative_to(organism_dir()).as_posix() for p in organism_dir().glob("*/*") if p.is_dir()
            )
            raise UnknownNameError("organism", text, [ORGANISM_PREFIX + name for name in shipped])
        return found
    local = Path(text).expanduser()
    return local if local.exists() else None


def read_config(path: Path, model: type[M]) -> M:
    """Read a YAML file into a pydantic model.

    Raises:
        ConfigError: not YAML, or keys that the model does not have or accept; the file and every key are
            named.
    """
    try:
        return model.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {wrong}", allowed=f"keys {', '.join(model.model_fields)}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def check_safetensors(path: Path) -> None:
    """Check header and length. Raises CorruptFileError when the file is truncated or damaged."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(
            f"{path} is truncated or damaged: {error}", do="copy, download or write it again"
        ) from error


def partial_of(path: Path) -> Path:
    """Where the unfinished form of a file or directory is written."""
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


def read_plan(directory: Path) -> dict[str, Any] | None:
    """What a partial directory says it is part of; None where it says nothing.

    Raises:
        CorruptFileError: it is not JSON.
    """
    file = directory / PLAN_FILE
    try:
        return json.loads(file.read_text()) if file.is_file() else None
    except ValueError as error:
        raise CorruptFileError(
            f"{file} is not JSON: {error}", do=f"delete {directory}, and begin again"
        ) from error


def begun(
    directory: Path, plan: Mapping[str, Any], *, beside: Collection[str] = ()
) -> Literal["new", "same", "other"]:
    """How a directory that a kill may have left stands to a plan.

    "new" where nothing was begun, "same" where this plan was, "other" where another one was or something else
    is there.

    Args:
        plan: JSON values.
        beside: what a kill may leave before there is a plan, besides the lock and half a plan.

    Raises:
        CorruptFileError: the plan that is there is damaged.
    """
    before = read_plan(directory)
    if before == json.loads(json.dumps(plan)):
        return "same"
    left = {path.name for path in directory.iterdir()} - {LOCK_FILE, f"{PLAN_FILE}.unfinished", *beside}
    return "other" if before is not None or left else "new"


def write_plan(directory: Path, plan: Mapping[str, Any]) -> None:
    """Say what a directory is part of."""
    write_text(directory / PLAN_FILE, json.dumps(plan, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file in one rename, so that no reader ever sees half of it."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text)
    unfinished.replace(path)


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as parquet in one rename."""
    path = Path(path)
    unfinished = path.with_name(path.name + ".unfinished")
    table.to_parquet(unfinished, index=False)
    unfinished.replace(path)


@contextmanager
def only_writer(directory: Path) -> Iterator[None]:
    """Hold a directory that several processes may reach for this one; the kernel lets go when it dies,
    however it dies.

    Raises:
        OutputError: another process holds it, or it cannot be written.
    """
    try:
        lock = (directory / LOCK_FILE).open("w")
    except OSError as error:
        raise OutputError(
            f"cannot write {directory}: {error.strerror}", do="choose a directory you can write"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"another process is writing {directory}",
                do="wait for it, or choose another output directory",
            ) from error
        yield


@contextmanager
def new_directory(path: str | Path) -> Iterator[Path]:
    """Write into `<path>.partial`, which is renamed to `path` when the block ends without an exception.

    What a killed `new_directory` left under the partial name is removed first: nothing ever reads it.

    Raises:
        OutputError: `path` exists, cannot be written, or its partial is that of a capture, a sweep or a run.
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
    partial.rename(path)
