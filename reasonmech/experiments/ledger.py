"""Ledger: what a stage was asked for, item by item, and what of it is missing, with the first cause."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

import pandas as pd

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.experiments.tables import read_json
from reasonmech.files import write_text

LEDGER_FILE: Final = "ledger.json"  # in a stage's folder
STAGE: Final = "stage"  # the part of an item that is a whole stage


@checked
@final
@dataclass(frozen=True)
class Cause:
    """Why something is missing: the first error on the way to it, in its own three parts.

    Attributes:
        error: name of its class.
    """

    error: str
    happened: str
    allowed: str = ""
    do: str = ""

    @classmethod
    def of(cls, error: DataError) -> Cause:
        return cls(type(error).__name__, error.happened, error.allowed, error.do)

    @checked
    def of_item(self, item: str) -> Cause:
        """The same cause, for something that needs `item`."""
        return Cause(self.error, f"{item} is missing: {self.happened}", self.allowed, self.do)

    def as_error(self) -> DataError:
        return DataError(self.happened, allowed=self.allowed, do=self.do)


@final
class Ledger:
    """What a stage was asked for. An item is planned before it is tried, and is done unless a cause stands
    beside it."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Cause | None] = {}

    @contextmanager
    @checked
    def attempt(self, part: str, *items: str) -> Iterator[None]:
        """Plan items and do them in the block: an error of the data makes those of them missing that are not
        yet, and the stage goes on. Errors of other kinds pass."""
        self.plan(part, *items)
        try:
            yield
        except DataError as error:
            self.miss(part, *items, cause=Cause.of(error))

    @checked
    def plan(self, part: str, *items: str) -> None:
        for item in items:
            self._items.setdefault((part, item), None)

    @checked
    def miss(self, part: str, *items: str, cause: Cause) -> None:
        """Items that were planned, or are now, cannot be done; the first cause of each stands."""
        for item in items:
            self._items[part, item] = self._items.get((part, item)) or cause

    @checked
    def planned(self, part: str) -> list[str]:
        """Items of a part."""
        return [item for of, item in self._items if of == part]

    @checked
    def cause(self, part: str, item: str) -> Cause | None:
        """Why an item is missing; None where it is not."""
        return self._items.get((part, item))

    @checked
    def first_cause(self, part: str) -> Cause | None:
        """Why the first missing item of a part is missing, as one who needs it would say; None: none is."""
        of_part = ((item, cause) for (of, item), cause in self._items.items() if of == part)
        return next((cause.of_item(item) for item, cause in of_part if cause is not None), None)

    @checked
    def write(self, folder: Path) -> None:
        rows = [
            {"part": part, "item": item, "cause": None if cause is None else asdict(cause)}
            for (part, item), cause in self._items.items()
        ]
        write_text(folder / LEDGER_FILE, json.dumps(rows))

    @classmethod
    @checked
    def read(cls, folder: Path) -> Ledger:
        """The ledger of a finished stage; empty where it kept none."""
        ledger = cls()
        if (folder / LEDGER_FILE).exists():
            for row in read_json(folder / LEDGER_FILE):
                cause = row["cause"]
                ledger._items[row["part"], row["item"]] = None if cause is None else Cause(**cause)
        return ledger

    def counts(self) -> dict[str, int]:
        """Part -> how many items were planned."""
        return dict(Counter(part for part, _ in self._items))

    def missing(self) -> list[dict[str, str]]:
        """One row for each missing item."""
        return [
            {"part": part, "item": item, **asdict(cause)}
            for (part, item), cause in self._items.items()
            if cause is not None
        ]


MISSING_COLUMNS: Final = ("stage", "part", "item", "error", "happened", "allowed", "do")


def missing_table(ledgers: Mapping[str, Ledger]) -> pd.DataFrame:
    """What is missing of a whole run, one item a row: stage, part, item, and the cause in its parts."""
    rows: list[dict[str, Any]] = [
        {"stage": stage, **row} for stage, ledger in ledgers.items() for row in ledger.missing()
    ]
    return pd.DataFrame(rows, columns=list(MISSING_COLUMNS))
