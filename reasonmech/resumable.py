"""ResumableDirectory: written by one process, not spoilt by a kill, and under its name when complete."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self, final

from reasonmech.digest import weights_alone
from reasonmech.disk import explain_failed_writes, explain_full_disk
from reasonmech.errors import OutputError
from reasonmech.files import (
    LEFTOVER_FILE,
    PLAN_FILE,
    RECORD_FILE,
    UNFINISHED,
    atomic_write,
    check_new,
    partial_of,
    remove,
    remove_leftovers,
    write_text,
)
from reasonmech.json_text import read_object
from reasonmech.lock import LOCK_FILE, only_holder
from reasonmech.output_path import check_own

MAX_LISTED: Final = 20  # differing keys in an error; the rest is counted
MAX_SHOWN: Final = 40  # characters of a value in an error
ADDED_LATER: Final = ("identity", "model")  # keys of a plan that earlier versions did not write
MODEL_WORDS: Final = {  # for a plan that has the fingerprints of a pair
    f"identity.{role}": f"another {role} model: its weights, configuration, tokenizer or ends of text"
    for role in ("base", "thinking")
}
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
        working: patterns of names in it that only a partial directory holds: checkpoints, marks of progress.
        unplanned: patterns of names that a kill may have left before there was a plan.
        words: key of the plan, dotted -> what to say where it differs, in place of the key and both values.
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
        check_own(self.partial)
        with explain_failed_writes(self.partial):
            self.partial.mkdir(exist_ok=True)
        if read_plan(self.partial) is None:  # nothing, a lock neither, is written into a folder of others
            _check_foreign(self.partial, kind=self.kind, unplanned=self.unplanned)
        with only_writer(self.partial), explain_full_disk(self.partial):
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
            for pattern in (f"**/*{UNFINISHED}", "**/*.partial"):  # what a kill left half written
                for path in list(self.partial.glob(pattern)):
                    remove(path)
            leave = [path.name for pattern in self.working for path in self.partial.glob(pattern)]
            write_text(self.path(LEFTOVER_FILE), json.dumps([*leave, LOCK_FILE]))
            self.partial.rename(self.out)
            remove_leftovers(self.out)  # a kill before it: whoever opens the directory next removes them
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
    _check_foreign(directory, kind=kind, unplanned=unplanned)
    with explain_failed_writes(directory):
        write_plan(directory, plan)


def _check_foreign(directory: Path, *, kind: str, unplanned: Collection[str]) -> None:
    ignored = (LOCK_FILE, LEFTOVER_FILE, f"{PLAN_FILE}{UNFINISHED}", *unplanned)
    names = sorted(path.name for path in directory.iterdir())
    foreign = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in ignored)]
    if foreign:
        raise OutputError(
            f"{directory} is there and is no {kind}: it holds {', '.join(foreign[:4])}, and no {PLAN_FILE}",
            do="delete it, or choose another output directory; nothing was changed",
        )


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
    later = [key for key in ADDED_LATER if key in plan and key not in earlier]
    plan = {key: value for key, value in plan.items() if key not in later}
    if changes := differences(earlier, json.loads(json.dumps(plan)), words=words):
        raise OutputError(
            f"{directory} holds part of another {kind} ({changes})",
            do="call with the arguments that it was begun with (and with the files of a model as they were), "
            f"choose another output directory, or delete {directory}, which we made (its {PLAN_FILE} says "
            "so); nothing was changed",
        )
    if "identity" in later:
        warnings.warn(weights_alone(f"the {kind} in {directory}"), stacklevel=2)


def read_plan(directory: Path) -> dict[str, Any] | None:
    """What a partial directory says it is part of; None where it says nothing.

    Raises:
        CorruptFileError: it is not JSON, or no mapping.
    """
    file = directory / PLAN_FILE
    if not file.is_file():
        return None
    return read_object(file, do=f"delete {directory}, and begin again")


def write_plan(directory: Path, plan: Mapping[str, Any]) -> None:
    """Say what a directory is part of."""
    write_text(directory / PLAN_FILE, json.dumps(plan, indent=1) + "\n")


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], *, words: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Dotted keys whose values differ, with both values; "" where none does.

    Args:
        words: dotted key -> what to say of it, and of what is under it, instead.
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    keys = [key for key in {**before, **after} if before.get(key, _ABSENT) != after.get(key, _ABSENT)]
    told = {key: word for key in keys for word in words if f"{key}.".startswith(f"{word}.")}
    named = [words[word] for word in words if word in told.values()]
    lines = [
        f"{key}: {_short(before.get(key, _ABSENT))}, now {_short(after.get(key, _ABSENT))}"
        for key in keys
        if key not in told
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


def only_writer(directory: Path) -> AbstractContextManager[None]:
    """Hold a directory that several processes may reach for this one. Raises OutputError as `only_holder`."""
    return only_holder(directory / LOCK_FILE, directory)
