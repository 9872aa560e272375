"""Texts of a capture: token ids, problem and sample of each, and which tokens are kept; made in pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np
import torch
from tqdm.auto import tqdm

from reasonmech.arguments import check_type
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.interventions.masks import Everywhere
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.keep import Keep
from reasonmech.runtime.names import check_words
from reasonmech.runtime.pass_rows import check_row_count
from reasonmech.shapes import Mask
from reasonmech.step import Step

if TYPE_CHECKING:
    import pandas as pd

GROUP: Final = 256  # texts looked at together
INDEX_COLUMNS: Final = ("rollout", "problem", "position", "token", "generated", "by_environment", "n_active")


@final
@dataclass(frozen=True, eq=False)
class CapturedText:
    """One text of a capture.

    Attributes:
        number: which of the texts given.
        ids, by_environment: [token] of prompt and answer.
        columns: name -> [token], what else the index says.
    """

    number: int
    problem: str
    ids: np.ndarray
    prompt_length: int
    by_environment: np.ndarray
    columns: Mapping[str, np.ndarray]


class Piece(NamedTuple):
    """Consecutive texts, and for each which tokens are kept [token]."""

    texts: Sequence[CapturedText]
    kept: Sequence[np.ndarray]


class Survey(NamedTuple):
    """All texts, counted: [text] tokens, [text] tokens kept, and the SHA-256 of everything the index will
    say."""

    lengths: np.ndarray
    kept: np.ndarray
    digest: str


@final
class CaptureTexts:
    """The texts of a capture, read when they are asked for: no more than a piece of them is held here."""

    def __init__(self, host: Host, items: Sequence[Rollout | str], keep: Keep) -> None:
        if not len(items):
            raise DataError("no text to capture from")
        self._host, self._items, self._keep = host, items, keep
        check_row_count(keep.where, len(items))
        self._where = keep.where.resolve(host.tokenizer)
        self._room, self._vocab_size = host.n_positions, host.vocab_size  # read off the model once

    def __len__(self) -> int:
        return len(self._items)

    def piece(self, start: int, stop: int) -> Piece:
        """Texts [start, stop).

        Raises:
            DataError: a text without tokens, or with one that the model does not have, or columns that do not
                fit it.
            UnknownNameError: a label nobody gives.
        """
        texts = [self._text(number) for number in range(start, stop)]
        groups = [texts[i : i + GROUP] for i in range(0, len(texts), GROUP)]
        return Piece(texts, [*chain.from_iterable(map(self._marks, groups))])

    def survey(self, *, progress: bool) -> Survey:
        """Count and hash every text. Raises DataError where no token is kept, or the columns of two texts
        differ."""
        digest, lengths, kept = hashlib.sha256(), [], []
        names = None
        for start in tqdm(range(0, len(self), GROUP), desc="count texts", leave=False, disable=not progress):
            piece = self.piece(start, min(len(self), start + GROUP))
            for text, marks in zip(*piece, strict=True):
                names = check_columns(text, names)
                head = f"{text.problem}\0{len(text.ids)} {text.prompt_length}\0{sorted(text.columns)}"
                digest.update(head.encode())
                for values in (text.ids, text.by_environment, marks, *_sorted(text.columns)):
                    digest.update(
                        "\0".join(values).encode() if values.dtype.kind in "OU" else values.tobytes()
                    )
                lengths.append(len(text.ids))
                kept.append(int(marks.sum()))
        check_any(sum(kept), self._keep)
        return Survey(np.array(lengths), np.array(kept), digest.hexdigest())

    def _text(self, number: int) -> CapturedText:
        item = check_type(
            self._items[number], (str, Rollout), name=f"rollouts[{number}]", allowed="a rollout, or a text"
        )
        if isinstance(item, str):
            ids = np.array(self._host.encode(item), dtype=np.int64)
            problem, prompt_length, environment = f"text/{number}", len(ids), np.zeros(len(ids), dtype=bool)
        else:
            ids = np.array(item.all_ids, dtype=np.int64)
            problem, prompt_length = item.problem.id, len(item.prompt_ids)
            environment = np.array((False,) * prompt_length + item.by_environment, dtype=bool)
        check_words(self._keep.where, self._host, [item])
        if not len(ids):
            raise DataError(f"text {number} ({problem}) has no token", do="leave it out")
        if len(ids) > self._room:
            self._host.check_length(len(ids), f"text {number} ({problem})")
        size = self._vocab_size
        if ids.min() < 0 or ids.max() >= size:
            position = int(((ids < 0) | (ids >= size)).argmax())
            raise DataError(
                f"token {ids[position]} at position {position} of text {number} ({problem})",
                allowed=f"the tokens 0 .. {size - 1} of {self._host.name!r}",
                do="capture from a model with the tokenizer that the text was encoded with",
            )
        further = {} if self._keep.columns is None else self._keep.columns(number, item)
        columns = {name: np.asarray(values) for name, values in further.items()}
        for name, values in columns.items():
            if name in INDEX_COLUMNS or values.shape != ids.shape or _type_of(values) is None:
                shape = " x ".join(map(str, values.shape)) or "no row of"
                raise DataError(
                    f"column {name!r} of text {number} ({problem}): {shape} values of type "
                    f"{values.dtype} for {len(ids)} tokens",
                    allowed="a truth value, an integer or a string for every token; other names than "
                    f"{', '.join(INDEX_COLUMNS)}",
                )
        return CapturedText(number, problem, ids, prompt_length, environment, columns)

    def _marks(self, texts: Sequence[CapturedText]) -> list[np.ndarray]:
        if isinstance(self._where, Everywhere):
            return [np.ones(len(text.ids), dtype=bool) for text in texts]
        for text in texts:
            if (needed := self._where.reach(text.number)) > len(text.ids):
                raise DataError(
                    f"{self._where} names token {needed - 1} of text {text.number}: it has {len(text.ids)}"
                )
        ids, real = padded([text.ids for text in texts])
        step = Step(
            ids=ids,
            mask=real,
            prompt_length=torch.tensor([text.prompt_length for text in texts]),
            new=ids.shape[1],
            rows=torch.tensor([text.number for text in texts]),
            labels={name: padded([_label(text, name) for text in texts])[0] for name in self._where.labels()},
        )
        marks = self._where.mask(step).numpy()
        return [row[: len(text.ids)] for row, text in zip(marks, texts, strict=True)]


def padded(rows: Sequence[np.ndarray]) -> tuple[torch.Tensor, Mask]:
    """Rows beside each other, filled up on the right with their last value, and which of it is theirs."""
    lengths = np.array([len(row) for row in rows])
    real = np.arange(lengths.max()) < lengths[:, None]
    out = np.repeat(np.array([row[-1] for row in rows])[:, None], real.shape[1], axis=1)
    out[real] = np.concatenate(rows)
    return torch.from_numpy(out), torch.from_numpy(real)


def _type_of(values: np.ndarray) -> str | None:
    """What a column holds: "str", "bool", "int64", ...; None where an index cannot hold it."""
    from pandas.api.types import infer_dtype

    if values.dtype.kind in "biu":
        return values.dtype.name
    return "str" if values.dtype.kind in "OU" and infer_dtype(values, skipna=False) == "string" else None


def _sorted(columns: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return [values for _, values in sorted(columns.items())]


def _label(text: CapturedText, label: str) -> np.ndarray:
    """[token] marks: a column of truth values, or "column=value"."""
    name, equals, value = label.partition("=")
    column = text.columns.get(name)
    if column is None or (not equals and column.dtype != bool):
        marks = [c if values.dtype == bool else f"{c}=..." for c, values in sorted(text.columns.items())]
        raise UnknownNameError("label", label, marks, do="give the column: Keep(columns=...)")
    return column.astype(str) == value if equals else column


def check_columns(text: CapturedText, names: frozenset[str] | None) -> frozenset[str]:
    """Names and types of a text's columns, which are those of the texts before it. Raises DataError."""
    typed = frozenset(f"{name} ({_type_of(values)})" for name, values in text.columns.items())
    if names is not None and typed != names:
        raise DataError(
            f"text {text.number} has columns {', '.join(sorted(typed))}, those before it "
            f"{', '.join(sorted(names))}",
            do="give the same columns, of the same types, for every text",
        )
    return typed


def check_any(n_kept: int, keep: Keep) -> None:
    """Raise DataError where nothing is kept of all texts."""
    if not n_kept:
        raise DataError(f"{keep.where} names no token of any text", do="choose others: Keep(where=...)")


def index_of(piece: Piece) -> pd.DataFrame:
    """One row per kept token."""
    import pandas as pd

    texts, kept = piece
    counts = [int(marks.sum()) for marks in kept]
    rollout = np.repeat([text.number for text in texts], counts)
    position = np.concatenate([np.flatnonzero(marks) for marks in kept])
    frame = {
        "rollout": rollout,
        "problem": _column(np.repeat(np.array([text.problem for text in texts], dtype=object), counts)),
        "position": position,
        "token": np.concatenate([text.ids[marks] for text, marks in zip(texts, kept, strict=True)]),
        "generated": position >= np.repeat([text.prompt_length for text in texts], counts),
        "by_environment": np.concatenate(
            [t.by_environment[marks] for t, marks in zip(texts, kept, strict=True)]
        ),
    }
    for name in texts[0].columns:
        values = np.concatenate([text.columns[name][marks] for text, marks in zip(texts, kept, strict=True)])
        frame[name] = _column(values)
    return pd.DataFrame(frame, copy=False)


def _column(values: np.ndarray) -> np.ndarray | pd.Series:
    """Strings as strings even where there is none: every part of an index has the same types."""
    import pandas as pd

    return pd.Series(values, dtype="str") if values.dtype.kind in "OU" else values
