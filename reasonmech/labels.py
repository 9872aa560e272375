"""Labels: which token positions of which rollouts are positive for a behaviour, and which could have been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from reasonmech.errors import DataError
from reasonmech.rollout import Rollout

Mode = Literal["anticipates", "recognises"]


class Opportunity(NamedTuple):
    """A moment at which a behaviour could begin: offset of the next sentence's first token; did it?"""

    offset: int
    onset: bool


class Span(NamedTuple):
    """Half-open token offsets [start, stop) from the first generated token."""

    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Labels:
    """One row per labelled token position.

    Attributes:
        rollout: [row] index of the rollout.
        position: [row] absolute position of the token whose activation is read (prompt included, pad-free).
        positive: [row] whether the behaviour begins right after (anticipates) or is here (recognises).
        problem: [row] problem id, the unit of every interval and split.
        mode: "anticipates": `position` lies strictly before the span; "recognises": inside it.
    """

    behaviour: str
    mode: Mode
    rollout: np.ndarray
    position: np.ndarray
    positive: np.ndarray
    problem: np.ndarray

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

    @classmethod
    def from_opportunities(
        cls, behaviour: str, rollouts: Sequence[Rollout], opportunities: Sequence[Sequence[Opportunity]]
    ) -> Labels:
        """Anticipation labels: the last token before each opportunity, positive where the behaviour began."""
        rows = [
            (r, len(rollouts[r].prompt_ids) + o.offset - 1, o.onset, rollouts[r].problem.id)
            for r, of_rollout in enumerate(opportunities)
            for o in of_rollout
        ]
        return cls._build(behaviour, "anticipates", rows)

    @classmethod
    def from_spans(
        cls, behaviour: str, rollouts: Sequence[Rollout], spans: Sequence[Sequence[Span | tuple[int, int]]]
    ) -> Labels:
        """Recognition labels for your own spans: a row per token that the model chose, positive inside them.

        Args:
            spans: per rollout, half-open token offsets from its first generated token.

        Raises:
            DataError: lengths differ, or a span lies outside its rollout.
        """
        if len(spans) != len(rollouts):
            raise DataError(
                f"{len(spans)} lists of spans for {len(rollouts)} rollouts",
                do="give one list per rollout, empty where none",
            )
        rows = []
        for r, (rollout, of_rollout) in enumerate(zip(rollouts, spans, strict=True)):
            inside = np.zeros(len(rollout.ids), dtype=bool)
            for start, stop in of_rollout:
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
        return cls._build(behaviour, "recognises", rows)

    @classmethod
    def _build(cls, behaviour: str, mode: Mode, rows: Sequence[tuple[int, int, bool, str]]) -> Labels:
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
        )
