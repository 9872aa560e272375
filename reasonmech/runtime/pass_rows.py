"""PassRow: one row of a run, and rows from whatever a caller calls a text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Final, TypeAlias, final

from reasonmech.arguments import check_type, check_whole, describe
from reasonmech.errors import ArgumentError, DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.masks.where import Where
from reasonmech.labels import Labels
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout

TextLike: TypeAlias = str | Sequence[int] | Rollout
Marks: TypeAlias = Labels | Sequence[Collection[int]]

_TEXTS: Final = "texts, token ids (lists of integers) or rollouts"


@final
@dataclass(frozen=True)
class PassRow:
    """One row of a run.

    Attributes:
        ids: prompt and answer.
        prompt_length: tokens of the prompt.
        name: what an error calls it.
        labels: name -> absolute positions that carry the label.
        problem: of a rollout, which another model may read behind another prompt, or in other tokens; None
            for other texts.
    """

    ids: tuple[int, ...]
    prompt_length: int
    name: str
    labels: Mapping[str, frozenset[int]] = field(default_factory=dict)
    problem: Problem | None = None

    @classmethod
    def of(cls, rollout: Rollout, labels: Mapping[str, frozenset[int]] | None = None) -> PassRow:
        """A rollout, prompt and answer."""
        name = f"problem {rollout.problem.id!r}, sample {rollout.sample}"
        return cls(rollout.all_ids, len(rollout.prompt_ids), name, labels or {}, rollout.problem)


@final
@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts with the positions that `labelled(name)` names in them.

    Attributes:
        texts: of a plain text or token ids everything is prompt; a rollout knows its prompt.
        labels: name -> `Labels` made from these rollouts (their positive rows), or per text the absolute
            positions that carry the label.

    Raises:
        DataError: positions for another number of texts, or labels of a rollout that is not there.
    """

    texts: Sequence[TextLike]
    labels: Mapping[str, Marks]

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", as_texts(self.texts))
        check_type(
            self.labels, Mapping, name="labels", allowed="a mapping from a label's name to its positions"
        )
        for name, marks in self.labels.items():
            _positions(name, marks, len(self.texts))

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"LabelledTexts({len(self)} texts, labels {', '.join(self.labels)})"


def as_texts(texts: TextLike | Sequence[TextLike], *, name: str = "texts") -> Sequence[TextLike]:
    """Many texts; one text, a list of token ids or one rollout is taken as one.

    Raises:
        ArgumentError: something that is no text.
    """
    if isinstance(texts, str | Rollout):
        return [texts]
    if not isinstance(texts, Sequence):
        raise ArgumentError(
            f"{name} is {describe(texts)}",
            allowed=_TEXTS,
            do="give a list; token ids as tensor.tolist()",
        )
    ids = [text for text in texts if isinstance(text, int)]
    if len(texts) and len(ids) == len(texts):
        return [ids]
    checked: list[TextLike] = []
    for i, text in enumerate(texts):
        if not isinstance(text, str | Sequence | Rollout):
            raise ArgumentError(
                f"{name}[{i}] is {describe(text)}", allowed=_TEXTS, do="give token ids as tensor.tolist()"
            )
        checked.append(text)
    return checked


def texts_of(texts: Sequence[TextLike] | TextLike | LabelledTexts) -> Sequence[TextLike]:
    """The texts alone. Raises ArgumentError as `as_texts`."""
    return texts.texts if isinstance(texts, LabelledTexts) else as_texts(texts)


def pass_rows(host: Host, texts: Sequence[TextLike] | TextLike | LabelledTexts) -> list[PassRow]:
    """Rows of a run from texts, token ids or rollouts, with or without labels.

    Raises:
        ArgumentError: something that is no text.
        DataError: labels outside the texts, or for another number of them; a token that the model does not
            have.
        MismatchError: labels that were made from other texts.
    """
    if not isinstance(texts, LabelledTexts):
        texts = LabelledTexts(as_texts(texts), {})
    positions = {name: _positions(name, marks, len(texts)) for name, marks in texts.labels.items()}
    rows = []
    for number, text in enumerate(texts.texts):
        labels = {name: positions_of[number] for name, positions_of in positions.items()}
        if isinstance(text, Rollout):
            row = PassRow.of(text, labels)
        else:
            ids = tuple(host.encode(text)) if isinstance(text, str) else _token_ids(text, number)
            row = PassRow(ids, len(ids), f"text {number}", labels)
        _check_labels(row)
        for marks in texts.labels.values():
            if isinstance(marks, Labels) and number in marks.rollout:
                marks.check_text(number, row.ids)
        host.check_ids(row.ids, row.name)
        rows.append(row)
    return rows


def _token_ids(ids: Sequence[int], number: int) -> tuple[int, ...]:
    try:
        return tuple(map(index, ids))  # unlike int(), it takes no 1.5 for a 1
    except TypeError as error:
        raise ArgumentError(
            f"text {number} is {describe(ids)}, not all of it integers", allowed=_TEXTS
        ) from error


def _check_labels(row: PassRow) -> None:
    outside = [p for positions in row.labels.values() for p in positions if not 0 <= p < len(row.ids)]
    if outside:
        raise DataError(
            f"a label at position {outside[0]} of {row.name}, which has {len(row.ids)} tokens",
            do="positions are absolute, prompt included, padding not",
        )


def _positions(name: str, marks: Marks, n: int) -> list[frozenset[int]]:
    if isinstance(marks, Labels):
        by_row: list[set[int]] = [set() for _ in range(n)]
        for row, position in zip(marks.rollout[marks.positive], marks.position[marks.positive], strict=True):
            if row >= n:
                raise DataError(f"labels {name!r} speak of rollout {row}, there are {n} texts")
            by_row[int(row)].add(int(position))
        return [frozenset(positions) for positions in by_row]
    if len(marks) != n:
        raise DataError(f"{len(marks)} sets of {name!r} positions for {n} texts", do="give one set per text")
    # a mask is no list of positions: True would be 1
    what = f"a position of label {name!r}"
    return [frozenset(check_whole(position, name=what) for position in positions) for positions in marks]


def check_row_count(where: Where, n_rows: int) -> None:
    """Raise DataError where a mask has positions for another number of rows than a run has."""
    wrong = [n for n in sorted(where.row_counts()) if n != n_rows]
    if wrong:
        raise DataError(
            f"{where} has positions for {wrong[0]} rows, the run has {n_rows}",
            allowed="one tuple of positions per row of the run",
            do="give one tuple of positions per row, an empty one where none is meant",
        )


def check_positions(plan: Sequence[Intervention], rows: Sequence[PassRow]) -> None:
    """Raise DataError when a mask names a position that a whole text does not have, or a row too many."""
    for intervention in plan:
        check_row_count(intervention.where, len(rows))
    for number, row in enumerate(rows):
        for intervention in plan:
            n_needed = intervention.where.reach(number)
            if n_needed > len(row.ids):
                raise DataError(
                    f"{intervention.where} names position {n_needed - 1}; {row.name} has {len(row.ids)} "
                    "tokens",
                    allowed=f"0 .. {len(row.ids) - 1}",
                    do="positions are absolute, prompt included, padding not; at(per_row=...) gives each "
                    "text its own",
                )
