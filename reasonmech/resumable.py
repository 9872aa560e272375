"""ResumableDirectory: written by one process, not spoilt by a kill, and under its name when complete."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self, final

from reasonmech.disk import explain_failed_writes
from reasonmech.errors import CorruptFileError, OutputError
from reasonmech.files import PLAN_FILE, UNFINISHED, atomic_write, check_new, partial_of, write_text

LOCK_FILE: Final = ".lock"
RECORD_FILE: Final = "record.json"
MAX_LISTED: Final = 20  # differing keys in an error; the rest is counted
MAX_SHOWN: Final = 40  # characters of a value in an error
_ABSENT: Final = "(not there)"


@final
@dataclass(frozen=True)
class ResumableDirectory:
    """A directory that takes long to write: a store, a sweep, a run, coders, an organism.

    It is written into `<out>.partial`, by one process at a time, piece by piece. A process that is killed
    leaves complete pieces and at most one unfinished one, which nobody reads; whoever opens it again with the
    same plan goes on. It is renamed to `out` when everything is there:

        with ResumableDirectory(out, plan, kind="capture").open() as directory:
            for name in names:
                if not directory.path(name).exists():
                    with directory.piece(name) as unfinished:
                        ...  # write that file or folder
            directory.complete(record)

    Attributes:
        out: where it will be.
        plan: JSON values that its pieces depend on; those of another plan are refused, its keys named.
        kind: what is written, for errors: "capture", "sweep".
        working: patterns of names that only a partial directory holds: checkpoints, marks of progress.
        unplanned: patterns of names that a kill may have left before there was a plan.
        words: key of the plan -> what to say where it differs, in place of the key and both values.
    """

    out: Path
    plan: Mapping[str, Any]
    kind: str
    working: Collection[str] = ()
    unplanned: Collection[str] = ()
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def partial(self) -> Path:
        """Where it is until it is complete."""
        return partial_of(self.out)

    def path(self, name: str) -> Path:
        """Where a piece is while the directory is partial."""
        return self.partial / name

    @contextmanager
    def open(self) -> Iterator[Self]:
        """Take the directory for this process: a new one, or what an earlier process left of the same plan.

        Raises:
            OutputError: `out` exists or cannot be written, another process is writing it, or there is part
                of something else. CorruptFileError: its plan is damaged.
        """
        check_new(self.out)
        with explain_failed_writes(self.partial):
            self.partial.mkdir(exist_ok=True)
        with only_writer(self.partial):
            self._check_still_new()
            begin(self.partial, self.plan, kind=self.kind, unplanned=self.unplanned, words=self.words)
            yield self

    def _check_still_new(self) -> None:
        """Raise OutputError where whoever held the lock has finished since `out` was checked."""
        if self.out.exists():
            with suppress(OSError):  # what was made a moment ago is empty; what a kill left stays
                (self.partial / LOCK_FILE).unlink()
                self.partial.rmdir()
            check_new(self.out)

    @contextmanager
    def piece(self, name: str) -> Iterator[Path]:
        """Write a file or folder that appears under its name in one rename, and is on the disk by then.

        Raises:
            OutputError: it cannot be written; the pieces before it are whole.
        """
        with explain_failed_writes(self.partial), atomic_write(self.path(name)) as unfinished:
            yield unfinished

    def complete(self, record: Mapping[str, Any] | None = None) -> Path:
        """Give the directory its name: from here on it exists.

        Args:
            record: JSON values, which become `record.json`.

        Raises:
            OutputError: the disk is full. Nothing is lost: the next call has only this left to do.
        """
        with explain_failed_writes(self.partial):
            if record is not None:
                write_text(self.path(RECORD_FILE), json.dumps(record, indent=1) + "\n")
            self.partial.rename(self.out)
        # Working files go last: a kill in between leaves some too many, never a directory that lacks its own.
        for pattern in (*self.working, f"**/*{UNFINISHED}", "**/*.partial", LOCK_FILE):
            for path in list(self.out.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return self.out


def begin(
    directory: Path,
    plan: Mapping[str, Any],
    *,
    kind: str,
    unplanned: Collection[str] = (),
    words: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write a plan into a directory where nothing was begun, or check that what was begun has this plan.

    Args:
        kind, unplanned, words: as in `ResumableDirectory`.

    Raises:
        OutputError: something else is there, or part of another plan; nothing was changed.
        CorruptFileError: the plan that is there is damaged.
    """
    if read_plan(directory) is not None:
        check_plan(directory, plan, kind=kind, words=words)
        return
    ignored = (LOCK_FILE, f"{PLAN_FILE}{UNFINISHED}", *unplanned)
    names = sorted(path.name for path in directory.iterdir())
    foreign = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in ignored)]
    if foreign:
        raise OutputError(
            f"{directory} is there and is no {kind}: it holds {', '.join(foreign[:4])}, and no {PLAN_FILE}",
            do="delete it, or choose another output directory; nothing was changed",
        )
    with explain_failed_writes(directory):
        write_plan(directory, plan)


def check_plan(
    directory: Path, plan: Mapping[str, Any], *, kind: str, words: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Raise OutputError, naming what differs, unless a directory is part (or all) of this plan.

    Raises:
        CorruptFileError: its plan is damaged.
    """
    earlier = read_plan(directory)
    if earlier is None:
        raise OutputError(
            f"{directory} holds no {kind}", do="choose another output directory; nothing was changed"
        )
    if changes := differences(earlier, json.loads(json.dumps(plan)), words=words):
        raise OutputError(
            f"{directory} holds part of another {kind} ({changes})",
            do="go on with the same arguments, choose another output directory, or delete it; "
            "nothing was changed",
        )


def read_plan(directory: Path) -> dict[str, Any] | None:
    """What a partial directory says it is part of; None where it says nothing.

    Raises:
        CorruptFileError: it is not JSON, or no mapping.
    """
    file = directory / PLAN_FILE
    if not file.is_file():
        return None
    try:
        plan = json.loads(file.read_text())
    except ValueError as error:
        raise CorruptFileError(
            f"{file} is not JSON: {error}", do=f"delete {directory}, and begin again"
        ) from error
    if not isinstance(plan, dict):
        raise CorruptFileError(f"{file} is no plan: {plan!r:.40}", do=f"delete {directory}, and begin again")
    return plan


def write_plan(directory: Path, plan: Mapping[str, Any]) -> None:
    """Say what a directory is part of."""
    write_text(directory / PLAN_FILE, json.dumps(plan, indent=1) + "\n")


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], *, words: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Dotted keys whose values differ, with both values; "" where none does.

    Args:
        words: top-level key -> what to say of it instead.
    """
    named = [words[key] for key in words if old.get(key) != new.get(key)]
    before = dict(_flat({key: value for key, value in old.items() if key not in words}))
    after = dict(_flat({key: value for key, value in new.items() if key not in words}))
    keys = [key for key in {**before, **after} if before.get(key, _ABSENT) != after.get(key, _ABSENT)]
    lines = [
        f"{key}: {_short(before.get(key, _ABSENT))}, now {_short(after.get(key, _ABSENT))}" for key in keys
    ]
    rest = len(lines) - MAX_LISTED
    return "; ".join([*named, *lines[:MAX_LISTED], *([f"and {rest} more"] if rest > 0 else [])])


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict) or not value:
        return [(prefix, value)] if prefix else []
    return [
        pair for key, item in value.items() for pair in _flat(item, f"{prefix}.{key}" if prefix else str(key))
    ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:12]}…"


@contextmanager
def only_writer(directory: Path) -> Iterator[None]:
    """Hold a directory that several processes may reach for this one.

    The kernel lets go when the process dies, however it dies: a lock file that is left locks nobody out.

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
