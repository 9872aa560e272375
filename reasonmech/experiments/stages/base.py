"""A stage of an experiment: settings that are its configuration, and a body that writes files."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, final

import pandas as pd

from reasonmech.behaviours import definition_of
from reasonmech.door import checked
from reasonmech.errors import ConfigError
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.tables import Condition, write_conditions
from reasonmech.files import write_table, write_text
from reasonmech.hosts import ModelPair
from reasonmech.problem import ProblemSet
from reasonmech.ranges import Seed
from reasonmech.registry import Registry
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor


BEHAVIOUR: Final = "behaviour"
DEFINITION: Final = "definition"
RUN_FILES: Final = "keep"  # folder of a stage, on disk, whose content lands in the run's directory


@final
class Notes:
    """What a stage says beside its numbers. What it could not do is no note: that is in its ledger."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add_remark(self, line: str) -> None:
        """What was done, and needs to be read with care; the same line once."""
        if line not in self.lines:
            self.lines.append(line)


@dataclass(frozen=True)
class StageContext:
    """What a stage may use.

    Attributes:
        pair: the two hosts, checked.
        problems: the evaluation problems that all arms of the experiment share.
        decode: how every arm of the experiment decodes.
        seed: of everything random in the stage.
        out: this stage's own folder; empty when the stage starts.
        progress: whether to draw progress bars.
        finished: folders of the stages that this one needs.
        work: where this stage may keep pieces, which are there again when it is begun anew after a kill with
            the same inputs; None: nowhere. It is removed when the stage is finished.
    """

    pair: ModelPair
    problems: ProblemSet
    decode: Decode
    seed: Seed
    out: Path
    progress: bool
    finished: Mapping[str, Path] = field(default_factory=dict)
    work: Path | None = None

    @checked
    def of(self, kind: str) -> Path:
        """Folder of an earlier stage that this one needs."""
        return self.finished[kind]

    def open_run_folder(self) -> Path:
        """The folder of this stage whose content lands in the run's directory as it is."""
        folder = self.out / RUN_FILES
        folder.mkdir(exist_ok=True)
        return folder

    def write_results(self, tables: Sequence[pd.DataFrame]) -> None:
        """Rows of the run's long table, from `Condition.rows`; where there is none, the ledger says why."""
        if tables:
            write_table(pd.concat(tables, ignore_index=True), self.out / "results.parquet")

    def write_features(self, table: pd.DataFrame) -> None:
        """The run's table of features; the last stage that writes one has the last word."""
        write_table(table, self.out / "features.parquet")

    @checked
    def write_table(self, table: pd.DataFrame, name: str) -> None:
        """A table of the stage's own; lands in the run's folder.

        One of behaviours says what each is recognised by ("definition": functional or lexical).
        """
        if BEHAVIOUR in table and DEFINITION not in table:
            table = table.copy()
            at = table.columns.tolist().index(BEHAVIOUR) + 1
            table.insert(at, DEFINITION, [definition_of(str(name)) for name in table[BEHAVIOUR]])
        write_table(table, self.open_run_folder() / name)

    def write_conditions(self, conditions: Sequence[Condition]) -> None:
        """What each condition of the results is; lands in the run's record."""
        write_conditions(conditions, self.out / "conditions.json")

    def write_receipts(self, receipts: Mapping[str, object]) -> None:
        """Condition -> what its interventions really did, JSON values."""
        write_text(self.out / "receipts.json", json.dumps(receipts))

    @checked
    def write_notes(self, notes: Sequence[str]) -> None:
        """What a reader must know beside the numbers: printed on the report."""
        write_text(self.out / "notes.json", json.dumps(list(notes)))

    def write_ledger(self, ledger: Ledger) -> None:
        """What the stage was asked for, and what of it is missing: counted and listed on the report."""
        ledger.write(self.out)

    @checked
    def ledger_of(self, kind: str) -> Ledger:
        """The ledger of an earlier stage that this one needs."""
        return Ledger.read(self.of(kind))

    def write_generations(self, rows: Sequence[Mapping[str, object]]) -> None:
        write_text(self.out / "generations.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def write_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        from safetensors.torch import save_file

        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            self.out / "tensors.safetensors",
        )


class Stage(Settings, ABC):
    """One step of an experiment.

    To add a stage, write a subclass in a module of this package, register it under its kind, and import the
    module in `stages/__init__.py` (a plug-in names it as an entry point); nothing else changes.

    Attributes:
        needs: kinds of the earlier stages whose files it reads, whatever its settings.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    kind: str

    @property
    def reads(self) -> tuple[str, ...]:
        """Kinds of the earlier stages whose files it reads under these settings."""
        return self.needs

    def files(self) -> Mapping[str, object]:
        """What the files say that its settings name, as JSON: a stage is done again when they change."""
        return {}

    @checked
    def check_pair(self, pair: ModelPair, task: str) -> None:
        """Refuse, before any stage runs, what this one could never do with the pair and its task.

        Raises:
            ReasonmechError: a name, a site or a layer that there is not.
        """

    @abstractmethod
    def run(self, context: StageContext) -> None:
        """Write this stage's files into `context.out`.

        Raises:
            DataError: the data cannot answer anything of what was asked: the stage is missing, with this as
                the cause, and the run goes on where it can.
        """


stages: Registry[type[Stage]] = Registry("stage")


def build_stage(value: object) -> object:
    """A mapping with a `kind` becomes the registered stage. Raises UnknownNameError, listing the kinds."""
    if isinstance(value, Stage):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise ConfigError(
            f"a stage is a mapping with a kind, not {value!r}", allowed=", ".join(stages.kinds())
        )
    return stages.get(value["kind"]).model_validate(value)


def check_order(chosen: Sequence[Stage]) -> None:
    """Raises ConfigError when a stage stands before one that it needs, or twice."""
    earlier: list[str] = []
    for stage in chosen:
        missing = [kind for kind in stage.reads if kind not in earlier]
        if missing:
            raise ConfigError(
                f"stage {stage.kind!r} needs {', '.join(missing)} before it",
                do="add these stages above it, in this order",
            )
        if stage.kind in earlier:
            raise ConfigError(f"stage {stage.kind!r} stands twice", do="keep one")
        earlier.append(stage.kind)
