"""Rows: what a JSON-lines or parquet file holds, each with the place that an error names."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pyarrow
import pyarrow.parquet

from reasonmech.arguments import describe
from reasonmech.door import checked
from reasonmech.errors import CorruptFileError
from reasonmech.json_text import parse_json

_PARQUET: Final = b"PAR1"
_ALLOWED: Final = "JSON lines (one object a line, UTF-8) or parquet"


@checked
@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        where: for errors: "q.jsonl, line 3".
        part: the published part that it is of, "train" or "test"; empty where there are none.
    """

    where: str
    fields: Mapping[str, Any]
    part: str = ""


@checked
@dataclass(frozen=True)
class QuestionSource:
    """Rows, and where they come from: equal where name and hash are.

    Attributes:
        name: for errors and records.
        sha256: of the file's bytes; of several files, of the list of their hashes; of the Hub's, of the rows.
        record: what else a record says of them.
    """

    name: str
    sha256: str
    rows: tuple[Row, ...] = field(repr=False, compare=False)
    record: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@checked
def read_rows(path: str | Path) -> QuestionSource:
    """All rows of a file; read once, and again when it has changed.

    A byte order mark, CRLF and blank lines are taken. Values that JSON does not have (dates, decimals) become
    texts.

    Raises:
        CorruptFileError: there is no such file, it is neither JSON lines nor parquet, a line is broken (its
            number is named), a value has no text (bytes), or there is no row.
    """
    file = Path(path).expanduser()
    try:
        stat = file.stat()
        if not file.is_file():
            raise IsADirectoryError(21, "it is a directory")
        return _read(file, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise CorruptFileError(
            f"the file of questions {file} cannot be read: {error.strerror}",
            allowed=_ALLOWED,
            do="give the path of a file that is there",
        ) from error


@lru_cache(maxsize=32)
def _read(file: Path, size: int, modified: int) -> QuestionSource:
    content = file.read_bytes()
    rows = _parquet_rows(file) if content[:4] == _PARQUET else _json_rows(file, content)
    if not rows:
        raise CorruptFileError(f"{file} holds no row", allowed=_ALLOWED, do="give a file with questions")
    return QuestionSource(str(file), hashlib.sha256(content).hexdigest(), tuple(rows))


def _json_rows(file: Path, content: bytes) -> list[Row]:
    rows = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{file.name}, line {number}"
        try:
            value = parse_json(line)
            if not isinstance(value, dict):
                raise ValueError(f"it is no object but {describe(value)}")
            rows.append(Row(where, {key: as_json(inner) for key, inner in value.items()}))
        except ValueError as error:
            is_other = not rows and file.suffix not in (".jsonl", ".json")
            raise CorruptFileError(
                f"{file}: line {number} is broken: {error}",
                allowed=_ALLOWED,
                do="this file is neither: give one that is" if is_other else f"correct line {number}",
            ) from error
    return rows


def _parquet_rows(file: Path) -> list[Row]:
    try:
        listed: Sequence[Mapping[str, Any]] = pyarrow.parquet.read_table(file).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise CorruptFileError(
            f"{file} is damaged parquet: {error}", allowed=_ALLOWED, do="copy it again"
        ) from error
    rows = []
    for number, fields in enumerate(listed, start=1):
        where = f"{file.name}, row {number}"
        try:
            rows.append(Row(where, {key: as_json(value) for key, value in fields.items()}))
        except ValueError as error:
            raise CorruptFileError(
                f"{file}: row {number}: {error}",
                allowed="texts, numbers, truth values, lists and structs of them",
                do="leave that column out of the file",
            ) from error
    return rows


def as_json(value: object) -> Any:
    """A value as JSON has it. Raises ValueError for bytes, and for texts that are no Unicode."""
    if isinstance(value, str):
        value.encode()  # half a character is no text that a tokenizer could read
        return value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta | decimal.Decimal):
        return str(value)
    raise ValueError(f"{describe(value)} is no text")
