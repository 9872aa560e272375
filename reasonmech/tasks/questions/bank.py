"""Bank: the questions of a file or data set, each once, with its answer and its split."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, get_args

from reasonmech.arguments import describe
from reasonmech.door import checked
from reasonmech.errors import CorruptFileError, DataError, UnknownNameError
from reasonmech.hosts.prompt import QUESTION
from reasonmech.tasks.questions.comparing import unparsable
from reasonmech.tasks.questions.rows import QuestionSource, Row
from reasonmech.tasks.splits import Split, share_of, split_of

UNPARSABLE: Final = 0.05  # share of gold answers above which a file is refused
# of a published part: which splits it is cut into, and the share of the first one in percent
_PARTS: Final[Mapping[str, tuple[Split, Split, int]]] = {
    "train": ("train", "tuning", 85),
    "test": ("test", "confirmation", 50),
}
_PRIORITY: Final = ("", *_PARTS)  # a question that stands in two parts is of the last one
GoldOf = Callable[[str], str | None]


@checked
@dataclass(frozen=True)
class QuestionColumns:
    """Which columns hold question and answer, and how the gold answer is read off the latter."""

    question: str = "question"
    answer: str = "answer"


@checked
@dataclass(frozen=True)
class QuestionAndAnswer:
    """One question.

    Attributes:
        digest: hash of its text, by which it is told from others.
        answer: the gold answer; empty where none can be read.
        fields: all other columns.
    """

    digest: str
    text: str
    answer: str
    fields: Mapping[str, Any]
    split: Split
    where: str


@checked
@dataclass(frozen=True)
class Bank:
    """Questions by split, and what was counted on the way.

    Attributes:
        duplicates: rows that ask and answer what another one does, left out.
        contradictory: rows that ask what another one does and answer otherwise: all of them are left out.
        unanswered: questions without a gold answer, left out.
        unparsable: questions that were kept and whose gold answer is no mathematics: compared as texts.
    """

    questions: tuple[QuestionAndAnswer, ...]
    rows: int
    duplicates: int
    contradictory: int
    unanswered: int
    unparsable: int

    @checked
    def of_split(self, split: Split) -> list[QuestionAndAnswer]:
        """The questions of a split, in an order that the order of the file has no part in."""
        return sorted((q for q in self.questions if q.split == split), key=lambda q: q.digest)

    def counts(self) -> dict[str, Any]:
        """For records."""
        splits = Counter(question.split for question in self.questions)
        return {
            "rows": self.rows,
            "questions": len(self.questions),
            "splits": {split: splits[split] for split in get_args(Split)},
            "duplicates": self.duplicates,
            "contradictory": self.contradictory,
            "unanswered": self.unanswered,
            "unparsable_gold": self.unparsable,
        }


@checked
def question_key(text: str) -> str:
    """What makes two questions one: white space, upper case and the forms of characters do not."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@lru_cache(maxsize=16)
def make_bank(
    source: QuestionSource,
    columns: QuestionColumns,
    *,
    gold_of: GoldOf,
    seconds: float | None,
    split: Split | None,
    form: str = "",
) -> Bank:
    """Questions of rows; made once for each source.

    Args:
        gold_of: the gold answer in what stands in the answer's column; None where there is none.
        form: how the answer's column says which the gold answer is, for the error where it does not.
        seconds: of computing time to read a gold answer as mathematics; None where it is not to be any.
        split: that all questions belong to; None: a hash of the question decides, within the published parts
            where there are some. A question that stands in two of them is of the part "test".

    Raises:
        UnknownNameError: no such column; those that are there are listed.
        CorruptFileError: a row without question or answer; it is named.
        DataError: more than 5 % of the gold answers cannot be read; or a second column has the name under
            which problems keep their question.
    """
    rows = source.rows
    _check_columns(rows, columns, source.name)
    of_digest: dict[str, list[tuple[Row, str, str]]] = defaultdict(list)
    for row in rows:
        text, answer = _question_of(row, columns), _answer_of(row, columns)
        digest = hashlib.sha256(question_key(text).encode()).hexdigest()[:16]
        of_digest[digest].append((row, text, (gold_of(answer) or "").strip()))
    parts = {row.part for row in rows}
    questions, duplicates, contradictory, unanswered = list[QuestionAndAnswer](), 0, 0, 0
    for digest, those in of_digest.items():
        row, text, gold = those[0]
        if len({answer for _, _, answer in those}) > 1:
            contradictory += len(those)
            continue
        duplicates += len(those) - 1
        part = max((one.part for one, _, _ in those), key=_PRIORITY.index) if len(parts) > 1 else ""
        if not gold:
            unanswered += 1
        fields = _other_fields(row, columns, gold)
        questions.append(
            QuestionAndAnswer(digest, text, gold, fields, split or _split_of(text, part), row.where)
        )
    return _checked_bank(
        questions,
        Bank((), len(rows), duplicates, contradictory, unanswered, 0),
        seconds=seconds,
        source=source.name,
        written=f"{form} in column {columns.answer!r}" if form else "",
    )


def _checked_bank(
    questions: Sequence[QuestionAndAnswer], counted: Bank, *, seconds: float | None, source: str, written: str
) -> Bank:
    golds = [question.answer for question in questions]
    unread = [not gold for gold in golds] if seconds is None else unparsable(golds, seconds=seconds)
    lost = [question for question, is_lost in zip(questions, unread, strict=True) if is_lost]
    absent = sum(not question.answer for question in lost)
    if len(lost) > UNPARSABLE * len(questions):
        shown = "; ".join(f"{question.where}: {question.answer[:40]!r}" for question in lost[:3])
        what = "are missing" if absent == len(lost) else "are missing or cannot be read as mathematics"
        what += f": there is no {written}" if written and absent else ""
        raise DataError(
            f"{len(lost)} of {len(questions)} gold answers of {source} {what} ({shown})",
            allowed=f"at most {UNPARSABLE:.0%}",
            do="correct them, or name the column that holds the answer itself (answer=COLUMN)"
            + ("" if absent == len(lost) else "; or compare texts: grading=exact"),
        )
    kept = tuple(question for question in questions if question.answer)
    if not kept:
        raise DataError(f"{source} has no question with one answer", do="give a file with questions")
    return Bank(
        kept,
        counted.rows,
        counted.duplicates,
        counted.contradictory,
        counted.unanswered,
        len(lost) - counted.unanswered,
    )


def _split_of(text: str, part: str) -> Split:
    key = question_key(text)
    if part not in _PARTS:
        return split_of(key)
    first, second, share = _PARTS[part]
    return first if share_of(key) < share else second


def _check_columns(rows: Sequence[Row], columns: QuestionColumns, source: str) -> None:
    there = dict.fromkeys(key for row in rows for key in row.fields)
    for role, name in (("question", columns.question), ("answer", columns.answer)):
        if name not in there:
            raise UnknownNameError(
                f"column of {source}", name, there, do=f"name the column that holds the {role}: {role}=COLUMN"
            )
    if columns.question != QUESTION and QUESTION in there:
        raise DataError(
            f"{source} has a column {QUESTION!r} beside the one with the questions, {columns.question!r}",
            allowed=f"one of them: a problem keeps its question under {QUESTION!r}",
            do="rename the other column",
        )


def _other_fields(row: Row, columns: QuestionColumns, gold: str) -> dict[str, Any]:
    """What else stands in a row; what the gold answer was read off, too, where that is more."""
    fields = {key: value for key, value in row.fields.items() if key != columns.question}
    if str(fields[columns.answer]).strip() == gold:
        del fields[columns.answer]
    return fields


def _question_of(row: Row, columns: QuestionColumns) -> str:
    text = row.fields.get(columns.question)
    if not isinstance(text, str) or not text.strip():
        raise _broken(row, columns.question, "a question, as text")
    return text


def _answer_of(row: Row, columns: QuestionColumns) -> str:
    """The answer as text; numbers as JSON writes them."""
    answer = row.fields.get(columns.answer)
    if isinstance(answer, str):
        return answer
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise _broken(row, columns.answer, "a text or a number")
    return json.dumps(answer)


def _broken(row: Row, column: str, allowed: str) -> CorruptFileError:
    is_there = column in row.fields
    what = f"{column!r} is {describe(row.fields[column])}" if is_there else f"there is no {column!r}"
    return CorruptFileError(f"{row.where}: {what}", allowed=allowed, do="correct it, or leave the row out")
