"""The directory of a run while it is being written: `<id>.partial/`, one process at a time, renamed when
complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reasonmech.errors import OutputError
from reasonmech.paths import LOCK_FILE, check_new, only_writer, partial_of, write_text

STAMP: Final = "stamp.json"


class RunStore:
    """Finished stages of a run, each a folder that appears in one rename and carries the hash of its inputs.

    A process that is killed leaves at most one unfinished folder, which nobody reads and the next start
    deletes.
    """

    def __init__(self, out: Path, partial: Path) -> None:
        self.out, self.partial = out, partial

    def stage_path(self, stage: str) -> Path:
        return self.partial / "stages" / stage

    def finished(self, stage: str, inputs: str) -> bool:
        """Whether `stage` was completed earlier with exactly these inputs."""
        stamp = self.stage_path(stage) / STAMP
        return stamp.exists() and json.loads(stamp.read_text())["inputs"] == inputs

    @contextmanager
    def writing(self, stage: str, inputs: str, note: dict[str, object]) -> Iterator[Path]:
        """A fresh folder to write a stage into; it becomes the stage only if the block ends without an error.

        Args:
            note: filled by the caller during the block; lands in the stamp beside the inputs' hash.
        """
        working = self.partial / f"stages/{stage}.unfinished"
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        yield working
        write_text(working / STAMP, json.dumps({"inputs": inputs} | note, indent=1))
        final = self.stage_path(stage)
        if final.exists():
            shutil.rmtree(final)
        working.rename(final)

    def stamp(self, stage: str) -> dict[str, object]:
        return json.loads((self.stage_path(stage) / STAMP).read_text())

    def complete(self) -> Path:
        """Rename the partial directory: from here on the run exists. Stage folders are working files and go
        last."""
        self.partial.rename(self.out)
        shutil.rmtree(self.out / "stages")
        (self.out / LOCK_FILE).unlink()
        return self.out


@contextmanager
def open_store(out: Path) -> Iterator[RunStore]:
    """Take the directory of a run for this process: a new one, or the partial one that an earlier process
    left.

    Raises:
        OutputError: `out` exists, cannot be written, or another process is writing it now.
    """
    partial = partial_of(check_new(out))
    try:
        (partial / "stages").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {partial}: {error.strerror}", do="choose a directory you can write"
        ) from error
    with only_writer(partial):
        yield RunStore(out, partial)
