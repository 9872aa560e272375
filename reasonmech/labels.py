"""Labels: which token positions of which rollouts are positive for a behaviour, and which could have been."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from reasonmech.arguments import check_type, check_whole, describe
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, DataError, MismatchError
from reasonmech.rollout import Rollout

Mode = Literal["anticipates", "recognises"]
Definition = Literal["functional", "lexical", "by hand"]
"""What a behaviour is recognised by: what a sentence does, its words, or what its labels were made from."""


class Opportunity(NamedTuple):
    """A moment at which a behaviour could begin: offset of the next sentence's first token; did it?"""

    offset: int
    onset: bool


class Span(NamedTuple):
    """Half-open token offsets [start, stop) from the first generated token."""

    start: int
    stop: int


@checked
@dataclass(frozen=True, eq=False)
class Labels:
    """One row per labelled token position.

    Attributes:
        rollout: [row] index of the rollout.
        position: [row] absolute position of the token whose activation is read (prompt included, pad-free).
        positive: [row] whether the behaviour begins right after (anticipates) or is here (recognises).
        problem: [row] problem id, the unit of every interval and split.
        mode: "anticipates": `position` lies strictly before the span; "recognises": inside it.
        rollouts: those that they were made from; None where nobody knows (made by hand). Whoever reads
            something at labelled positions compares the tokens of the texts with these.
        definition: what the behaviour is recognised by; tables that are made from labels say it.
    """

    behaviour: str
    mode: Mode
    rollout: np.ndarray
    position: np.ndarray
    positive: np.ndarray
    problem: np.ndarray
    rollouts: Sequence[Rollout] | None = field(default=None, repr=False)
    definition: Definition = "by hand"

    def __post_init__(self) -> None:
        for name, numbers in (("rollout", self.rollout), ("position", self.position)):
            _check_numbers(numbers, name)
        if not isinstance(self.positive, np.ndarray) or self.positive.dtype != bool:
            raise ArgumentError(  # 0 and 1 would be taken for row numbers
                f"positive of labels is {describe(self.positive)}, no array of truth values",
                allowed="a numpy array of truth values, one per row",
                do="np.asarray(values) > 0",
            )
        lengths = {name: len(getattr(self, name)) for name in ("rollout", "position", "positive", "problem")}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{n} of {name}" for name, n in lengths.items())
            raise DataError(f"labels of different lengths: {listed}", allowed="one of each per row")

    def __len__(self) -> int:
        return len(self.position)

    def take(self, rows: np.ndarray | slice) -> Labels:
        """The labels of some rows: a mask [row], row numbers, or a slice."""
        return replace(
            self,
            rollout=self.rollout[rows],
            position=self.position[rows],
            positive=self.positive[rows],
            problem=self.problem[rows],
        )

    def check_rollouts(self, rollouts: Sequence[Rollout]) -> None:
        """Raise MismatchError unless each labelled rollout is the one that was labelled, token for token.

        Of labels that were made by hand only the problems are compared.
        """
        labelled, first = np.unique(self.rollout, return_index=True)
        for r, problem in zip(labelled.tolist(), self.problem[first].tolist(), strict=True):
            if r >= len(rollouts):
                raise self._of_others(f"rollout {r}", f"there are {len(rollouts)}")
            if self.rollouts is not None:
                self.check_text(r, rollouts[r].all_ids)
            elif str(problem) != rollouts[r].problem.id:
                raise self._of_others(
                    f"rollout {r} of problem {str(problem)!r}", f"this one is of {rollouts[r].problem.id!r}"
                )

    @checked
    def check_text(self, rollout: int, ids: Sequence[int]) -> None:
        """Raise MismatchError unless a text is the labelled rollout of this number, token for token."""
        if self.rollouts is None:
            return
        labelled = self.rollouts[rollout].all_ids
        if labelled == tuple(ids):
            return
        pairs = zip(labelled, ids, strict=False)
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(labelled), len(ids)))
        before, now = (str(text[at]) if at < len(text) else "none" for text in (labelled, ids))
        raise self._of_others(
            f"rollout {rollout} with token {before} at position {at}", f"this text has {now}"
        )

    def check_tokens(self, rollout: np.ndarray, position: np.ndarray, token: np.ndarray) -> None:
        """Raise MismatchError unless single tokens of texts are those of the labelled rollouts.

        Args:
            rollout, position, token: [token] number of its text, absolute position, and id.
        """
        if self.rollouts is None:
            return
        labelled = np.unique(self.rollout)
        order = np.argsort(rollout, kind="stable")
        starts, stops = (np.searchsorted(rollout[order], labelled, side=side) for side in ("left", "right"))
        for r, start, stop in zip(labelled.tolist(), starts.tolist(), stops.tolist(), strict=True):
            rows, ids = order[start:stop], np.array(self.rollouts[r].all_ids)
            at = position[rows]
            differs = np.flatnonzero((at >= len(ids)) | (ids[np.minimum(at, len(ids) - 1)] != token[rows]))
            if len(differs):
                i = int(differs[0])
                before = str(ids[at[i]]) if at[i] < len(ids) else "none"
                raise self._of_others(
                    f"rollout {r} with token {before} at position {at[i]}", f"this text has {token[rows][i]}"
                )

    def _of_others(self, labelled: str, read: str) -> MismatchError:
        return MismatchError(
            f"labels of {self.behaviour!r} were made from other texts: they speak of {labelled}, {read}",
            allowed="labels of these very texts, in this order",
            do="label the rollouts that are read, or read those that were labelled",
        )

    def on(self, rollouts: Sequence[Rollout]) -> Labels:
        """The same rows, on other texts of the same problems and lengths: those whose words were exchanged.

        Raises:
            MismatchError: a labelled rollout is of another problem, or has another number of tokens.
        """
        moved = replace(self, rollouts=None)
        moved.check_rollouts(rollouts)
        for r in np.unique(self.rollout).tolist():
            before = None if self.rollouts is None else len(self.rollouts[r].all_ids)
            if before not in (None, now := len(rollouts[r].all_ids)):
                raise self._of_others(f"rollout {r} of {before} tokens", f"this text has {now}")
        return replace(self, rollouts=rollouts)

    @classmethod
    @checked
    def from_opportunities(
        cls, behaviour: str, rollouts: Sequence[Rollout], opportunities: Sequence[Sequence[Opportunity]]
    ) -> Labels:
        """Anticipation labels: the last token before each opportunity, positive where the behaviour began."""
        rows = [
            (r, len(rollouts[r].prompt_ids) + o.offset - 1, o.onset, rollouts[r].problem.id)
            for r, of_rollout in enumerate(opportunities)
            for o in of_rollout
        ]
        return cls._build(behaviour, "anticipates", rows, rollouts)

    @classmethod
    @checked
    def from_spans(
        cls, behaviour: str, rollouts: Sequence[Rollout], spans: Sequence[Sequence[Span | tuple[int, int]]]
    ) -> Labels:
        """Recognition labels for your own spans: a row per token that the model chose, positive inside them.

        Args:
            spans: per rollout, half-open token offsets from its first generated token.

        Raises:
            DataError: lengths differ, or a span lies outside its rollout.
        """
        listed = "per rollout, a list of spans (start, stop)"
        check_type(spans, (list, tuple), name="spans", allowed=listed)
        if len(spans) != len(rollouts):
            raise DataError(
                f"{len(spans)} lists of spans for {len(rollouts)} rollouts",
                do="give one list per rollout, empty where none",
            )
        rows = []
        for r, (rollout, of_rollout) in enumerate(zip(rollouts, spans, strict=True)):
            inside = np.zeros(len(rollout.ids), dtype=bool)
            for start, stop in _whole_spans(of_rollout, f"spans[{r}]"):
                if not 0 <= start < stop <= len(rollout.ids):
                    raise DataError(
                        f"span [{start}, {stop}) of rollout {r} lies outside its {len(rollout.ids)} "
                        "generated tokens",
                        allowed=f"0 <= start < stop <= {len(rollout.ids)}",
                    )
                inside[start:stop] = True
            first = len(rollout.prompt_ids)
            chosen = [t for t, environment in enumerate(rollout.by_environment) if not environment]
            rows += [(r, first + t, bool(inside[t]), rollout.problem.id) for t in chosen]
        return cls._build(behaviour, "recognises", rows, rollouts)

    @classmethod
    def _build(
        cls,
        behaviour: str,
        mode: Mode,
        rows: Sequence[tuple[int, int, bool, str]],
        rollouts: Sequence[Rollout],
    ) -> Labels:
        if not rows:
            raise DataError(
                f"no labelled position for behaviour {behaviour!r}", do="use more or longer rollouts"
            )
        rollout, position, positive, problem = zip(*rows, strict=True)
        return cls(
            behaviour,
            mode,
            np.array(rollout),
            np.array(position),
            np.array(positive, dtype=bool),
            np.array(problem),
            rollouts,
        )


def _check_numbers(numbers: object, name: str) -> None:
    """Raise ArgumentError unless they are numbers of rollouts or positions: whole, from 0, in an array."""
    if not isinstance(numbers, np.ndarray) or numbers.dtype.kind not in "iu":
        happened = f"{name} of labels is {describe(numbers)}, no array of whole numbers"
    elif len(numbers) and numbers.min() < 0:
        happened = f"{name} of labels has the negative number {numbers.min()}"
    else:
        return
    raise ArgumentError(
        happened,
        allowed="a numpy array of whole numbers, at least 0",
        do="count positions from the first token of the prompt, rollouts from 0",
    )


def _whole_spans(spans: object, name: str) -> Iterator[tuple[int, int]]:
    allowed = "a list of spans (start, stop), half-open token offsets"
    for i, span in enumerate(check_type(spans, (list, tuple), name=name, allowed=allowed)):
        pair = check_type(span, (tuple, list), name=f"{name}[{i}]", allowed="(start, stop)")
        if len(pair) != 2:
            raise ArgumentError(
                f"{name}[{i}] is {describe(pair)}", allowed="(start, stop)", do="give where it ends, too"
            )
        start, stop = (check_whole(end, name=f"{name}[{i}]", allowed="whole numbers") for end in pair)
        yield start, stop
