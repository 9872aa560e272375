"""The directory of a run while it is being written: finished stages, each with the hash of its inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from reasonmech.disk import explain_full_disk
from reasonmech.experiments.ledger import STAGE as WHOLE_STAGE
from reasonmech.experiments.ledger import Cause, Ledger
from reasonmech.files import PLAN_FILE, UNFINISHED, atomic_write, partial_of, remove, write_text
from reasonmech.json_text import read_object
from reasonmech.resumable import MODEL_WORDS, ResumableDirectory

STAMP: Final = "stamp.json"
STAGES: Final = "stages"
WORK: Final = "work"  # pieces of stages that are not finished
_STAMP_SHAPE: Final = {"inputs": str, "started": str, "seconds": float}


@final
class RunStore:
    """Finished stages of a run, each a folder that appears in one rename and carries the hash of its inputs.

    Attributes:
        directory: what holds them until the run is complete.
    """

    def __init__(self, directory: ResumableDirectory) -> None:
        self.directory = directory

    @property
    def out(self) -> Path:
        return self.directory.out

    @property
    def partial(self) -> Path:
        return self.directory.partial

    def stage_path(self, stage: str) -> Path:
        return self.partial / STAGES / stage

    def finished(self, stage: str, inputs: str) -> bool:
        """Whether `stage` was completed earlier with exactly these inputs."""
        stamp = self.stage_path(stage) / STAMP
        if not stamp.exists():
            return False
        do = f"delete {stamp.parent}: the stage is done again"
        return read_object(stamp, {"inputs": str}, do=do)["inputs"] == inputs

    def work_path(self, stage: str, inputs: str) -> Path:
        """What a stage with these inputs may keep piece by piece, so that a kill loses little."""
        return self.partial / WORK / f"{stage}-{inputs[:16]}"

    def _drop_work(self, stage: str) -> None:
        """Remove what a finished stage kept, and what earlier ones of other inputs did."""
        for path in (self.partial / WORK).glob(f"{stage}-{'[0-9a-f]' * 16}"):
            remove(path)

    @contextmanager
    def writing(self, stage: str, inputs: str, note: dict[str, object]) -> Iterator[Path]:
        """A fresh folder to write a stage into; it becomes the stage only if the block ends without an error.

        Args:
            note: filled by the caller during the block; lands in the stamp beside the inputs' hash.

        Raises:
            OutputError: the disk is full; the stages before this one are whole.
        """
        # A stage does more than write, so only a full disk is explained here: other errors are its own.
        with explain_full_disk(self.partial), atomic_write(self.stage_path(stage)) as folder:
            folder.mkdir(parents=True)
            yield folder
            write_text(folder / STAMP, json.dumps({"inputs": inputs} | note, indent=1))
        self._drop_work(stage)

    def stamp(self, stage: str) -> dict[str, object]:
        folder = self.stage_path(stage)
        return read_object(folder / STAMP, _STAMP_SHAPE, do=f"delete {folder}: the stage is done again")

    def lost(self, stage: str) -> Cause | None:
        """Why a finished stage could do nothing at all, for those that need it; None where it did."""
        return Ledger.read(self.stage_path(stage)).first_cause(WHOLE_STAGE)

    def complete(self) -> Path:
        """Give the directory its name: from here on the run exists."""
        return self.directory.complete()


@contextmanager
def open_store(out: Path, plan: Mapping[str, object]) -> Iterator[RunStore]:
    """Take the directory of a run for this process: a new one, or the partial one that a kill left.

    What the stages depend on is in their stamps, one by one, so that a changed setting redoes its stage and
    those after it; the plan says only which experiment this is, and of which pair.

    Raises:
        OutputError: `out` exists, cannot be written, is part of something else, or another process is writing
            it now.
    """
    # Runs begun before there was a plan hold their stages, and what was assembled of them.
    unplanned = ["*"] if _is_of_before(partial_of(out) / STAGES) else []
    directory = ResumableDirectory(
        out, plan, kind="run", working=[STAGES, WORK, PLAN_FILE], unplanned=unplanned, words=MODEL_WORDS
    )
    with directory.open():
        directory.path(STAGES).mkdir(exist_ok=True)
        yield RunStore(directory)


def _is_of_before(stages: Path) -> bool:
    """Whether a folder holds stages of a run, and nothing else: each has its stamp, or a kill cut it off."""
    held = list(stages.iterdir()) if stages.is_dir() else []
    finished = [path for path in held if (path / STAMP).is_file()]
    return bool(finished) and all(path in finished or path.name.endswith(UNFINISHED) for path in held)
