"""Rollouts (what a model wrote, token by token) and traces (a rollout cut into sentences by offset)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar, get_args, overload

from reasonmech.door import checked
from reasonmech.errors import CorruptFileError
from reasonmech.files import new_file
from reasonmech.json_text import check_shape, parse_json
from reasonmech.problem import Problem
from reasonmech.receipt import Receipt

Stop = Literal["eos", "token", "length"]
OTHER: Final = "other"
STOP: Final = "stop"
SLIP: Final = "slip"  # the environment stated something wrong here
STATED: Final = "stated"  # label of the token that holds the value of a sentence


@checked
@dataclass(frozen=True)
class Rollout:
    """One generated answer. Offsets count from the first generated token, positions from the prompt's first.

    Attributes:
        prompt_ids, ids: tokens of the prompt and of what was generated (end-of-sequence token included).
        by_environment: per generated token, whether the task's environment wrote it.
        steered: per generated token, whether an intervention fired at the position that predicted it.
        stop: "eos"; "token" when one of `Decode.stop_tokens` or `Decode.stop_strings` ended it, "length" when
            it was cut off (both graded as wrong in worlds with a grammar, never dropped; a question's answer
            is complete where a stop string ended it).
        text: `ids` decoded.
        pieces: what each generated token adds to the text; none where decoding puts blanks between tokens and
            each writes something, or nobody has noted it.
    """

    problem: Problem
    sample: int
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    by_environment: tuple[bool, ...]
    steered: tuple[bool, ...]
    stop: Stop
    text: str
    pieces: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"Rollout(problem {self.problem.id!r}, sample {self.sample}: {len(self.ids)} tokens, "
            f"stop {self.stop!r})"
        )

    @property
    def all_ids(self) -> tuple[int, ...]:
        return self.prompt_ids + self.ids

    @property
    def n_chosen(self) -> int:
        """Tokens that the model chose (environment tokens excluded): the denominator of percent steered."""
        return len(self.ids) - sum(self.by_environment)


@checked
@dataclass(frozen=True)
class Sentence:
    """A sentence of a rollout: half-open token offsets [start, stop) from the first generated token.

    What a sentence says beyond its kind belongs to whoever cut the text: `tasks.chain.ChainSentence` has
    values, `taxonomies.text.TextSentence` has characters.

    Attributes:
        kind: what it does, as a task's grammar or a taxonomy names it; `OTHER` where neither names anything,
            `STOP` for the end of a text.
    """

    kind: str
    start: int
    stop: int

    @checked
    def is_a(self, kind: str) -> bool:
        """Whether it is of this kind; a sentence of real text may be of several."""
        return kind == self.kind


S_co = TypeVar("S_co", bound=Sentence, covariant=True)


@checked
@dataclass(frozen=True)
class Trace(Generic[S_co]):
    """A rollout cut into sentences; what behaviours, graders and labellers read.

    Attributes:
        words: what each generated token wrote.
        separator: what stands between two words in the text; "" where words carry their own blanks.
        last_ended: of a text that was cut off, whether that happened right after its last sentence. Where it
            is not, nobody knows what that sentence would have become.
        marks: name -> offsets of tokens that the parser points out. `SLIP` is shown in views; a span whose
            `STATED` token the environment wrote is not counted as the model's own doing.
    """

    rollout: Rollout
    sentences: tuple[S_co, ...]
    words: tuple[str, ...]
    separator: str = " "
    last_ended: bool = False
    marks: Mapping[str, frozenset[int]] = field(default_factory=dict, hash=False)

    def __repr__(self) -> str:
        return f"Trace({len(self.sentences)} sentences of {self.rollout!r})"

    @property
    def finished(self) -> tuple[S_co, ...]:
        """Sentences that nothing can be added to: not the last one, where the text breaks off inside it."""
        broken_off = self.rollout.stop != "eos" and not self.last_ended
        return self.sentences[:-1] if broken_off else self.sentences

    def text_of(self, sentence: Sentence) -> str:
        return self.separator.join(self.words[sentence.start : sentence.stop]).strip()


class Rollouts(Sequence[Rollout]):
    """Rollouts of one host or decoder under one plan, in the order of the problems.

    Attributes:
        task: name of the task that grades them ("" for plain prompts).
        receipt: what each intervention of the plan really did (None without a plan).
        writer: who wrote them, where that was no host under a plan: "onset 'a', executor 'b'", or what a
            hybrid is made of; "" for a host, and in files of before.
    """

    @checked
    def __init__(
        self,
        rollouts: Sequence[Rollout],
        *,
        task: str = "",
        receipt: Receipt | None = None,
        writer: str = "",
    ) -> None:
        self.rollouts, self.task, self.receipt, self.writer = tuple(rollouts), task, receipt, writer

    @overload
    def __getitem__(self, index: int) -> Rollout: ...
    @overload
    def __getitem__(self, index: slice) -> Rollouts: ...
    def __getitem__(self, index: int | slice) -> Rollout | Rollouts:
        if isinstance(index, slice):
            return Rollouts(self.rollouts[index], task=self.task, receipt=self.receipt, writer=self.writer)
        return self.rollouts[index]

    def __len__(self) -> int:
        return len(self.rollouts)

    def __iter__(self) -> Iterator[Rollout]:
        return iter(self.rollouts)

    def __repr__(self) -> str:
        by = f", by {self.writer}" if self.writer else ""
        return f"Rollouts({len(self)} of task {self.task!r}{by})"

    @checked
    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write one JSON object per line; the receipt as its JSON values.

        Raises:
            OutputError: there is a file, unless it is to go; or it cannot be written.
        """
        receipt = None if self.receipt is None else self.receipt.to_json()
        with new_file(path, overwrite=overwrite) as unfinished, unfinished.open("w", encoding="utf-8") as out:
            head = {"task": self.task, "n": len(self), "receipt": receipt}
            by = {"writer": self.writer} if self.writer else {}  # files of one host stay what they were
            out.write(json.dumps(head | by) + "\n")
            for rollout in self:
                row = vars(rollout) | {"problem": vars(rollout.problem)}
                if not rollout.pieces:  # files of models that have none stay what they were
                    del row["pieces"]
                out.write(json.dumps(row) + "\n")

    @classmethod
    @checked
    def load(cls, path: str | Path) -> Rollouts:
        """Read what `save` wrote.

        Raises:
            CorruptFileError: it is none of these files, or lines are missing or damaged; the line is named.
        """
        number = 1
        try:
            lines = Path(path).expanduser().read_bytes().splitlines()
            head = parse_json(lines[0])
            check_shape(head, _HEAD)
            n, task, writer = head["n"], head["task"], head.get("writer", "")
            receipt = None if head["receipt"] is None else Receipt.from_json(head["receipt"])
            rollouts = []
            for number, line in enumerate(lines[1:], start=2):  # noqa: B007 - the error names it
                rollouts.append(_rollout_of(parse_json(line)))
        except OSError as error:
            raise CorruptFileError(
                f"{path} cannot be read: {error.strerror}",
                allowed="what Rollouts.save wrote",
                do="give the file that it wrote",
            ) from error
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptFileError(
                f"{path} is not a rollout file: line {number}: {type(error).__name__}: {error}",
                allowed="what Rollouts.save wrote",
                do="generate it again",
            ) from error
        if len(rollouts) != n:
            raise CorruptFileError(f"{path} holds {len(rollouts)} of {n} rollouts", do="generate it again")
        return cls(rollouts, task=task, receipt=receipt, writer=writer)


_PROBLEM: Final = {"id": str, "prompt": str, "answer": str, "data?": dict}
_HEAD: Final = {"n": int, "task": str, "receipt": (dict, type(None)), "writer?": str}
_ROW: Final = {
    "problem": _PROBLEM,
    "sample": int,
    "stop": str,
    "text": str,
    "prompt_ids": [int],
    "ids": [int],
    "by_environment": [bool],
    "steered": [bool],
    "pieces?": [str],
}


def _rollout_of(row: Mapping[str, Any]) -> Rollout:
    """A stored rollout. Raises TypeError, ValueError or KeyError where it is none."""
    check_shape(row, _ROW)
    problem = Problem(**row["problem"])
    if row["stop"] not in get_args(Stop) or row["sample"] < 0:
        raise ValueError(f"sample {row['sample']!r}, stop {row['stop']!r}")
    ids, flags = ("prompt_ids", "ids"), ("by_environment", "steered")
    if any(i < 0 for name in ids for i in row[name]):
        raise ValueError("a token id below 0")
    if any(len(row[name]) != len(row["ids"]) for name in flags):
        raise ValueError(f"{len(row['ids'])} tokens, and other numbers of {' and '.join(flags)}")
    unknown = sorted(set(row) - {field.name for field in fields(Rollout)})
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}")
    pieces = tuple(row.get("pieces", ()))
    if pieces and len(pieces) != len(row["ids"]):
        raise ValueError(f"{len(row['ids'])} tokens, and {len(pieces)} pieces of text")
    lists: dict[str, Any] = {name: tuple(row[name]) for name in (*ids, *flags)} | {"pieces": pieces}
    return Rollout(problem=problem, sample=row["sample"], stop=row["stop"], text=row["text"], **lists)
