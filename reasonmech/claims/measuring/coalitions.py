"""The factorial by behaviour: who decides where a backtrack, a check, or neither is due, and who executes?

Every coalition of these players is run with the thinking model's say for its members and the base's for the
others; Shapley values (`claims.shapley`) share the gap out among them, exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.claims.evidence import PerProblem
from reasonmech.claims.measuring.bench import Bench
from reasonmech.claims.measuring.relay import Relay
from reasonmech.claims.shapley import EXECUTOR, PLAYERS
from reasonmech.hosts import Host
from reasonmech.hosts.characters import rollout_pieces
from reasonmech.hosts.vocabulary import decode
from reasonmech.kinds import Kinds
from reasonmech.organisms.ground_truth.splice import splice
from reasonmech.rollout import Rollout
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.tasks import TellsWhatIsDue, tasks

N_COALITIONS: Final = 2 ** len(PLAYERS)


def measure_coalitions(bench: Bench) -> dict[tuple[str, ...], PerProblem]:
    """Right answers, greedy, by who is the thinking model's; empty where a task's moments cannot be told."""
    task = tasks.get(bench.problems.task)
    if not isinstance(task, TellsWhatIsDue):
        bench.note(
            f"task {bench.problems.task!r} does not say what is due at a boundary: no split by behaviour"
        )
        return {}
    measured = {}
    for members in _subsets():
        name = "+".join(members) or "nobody"
        relay = _relay(bench, task, members)
        measured[members] = bench.right(
            bench.write(f"greedy.coalition.{name}", relay, bench.decode("greedy"))
        )
    return measured


def _subsets() -> Iterator[tuple[str, ...]]:
    for size in range(len(PLAYERS) + 1):
        yield from combinations(PLAYERS, size)


def _relay(bench: Bench, task: TellsWhatIsDue, members: tuple[str, ...]) -> Relay:
    executor = bench.host("thinking" if EXECUTOR in members else "base")
    by_base, by_thinking = (
        splice(onset=bench.host(role), executor=executor, task=bench.problems.task)
        for role in ("base", "thinking")
    )
    due = [name for name in members if name != EXECUTOR]
    return Relay(
        by_base,
        by_thinking,
        lambda rows: DueTurns(task, by_base.kinds, rows, members, executor),
        rule=f"where {' or '.join(due) or 'nothing'} is due",
    )


@final
class DueTurns:
    """Turns: the second decoder decides at boundaries where what is due belongs to one of the members.

    Inside a sentence it does not matter whose turn it is: one model executes for both.
    """

    def __init__(
        self,
        task: TellsWhatIsDue,
        kinds: Kinds,
        rows: list[RowInfo],
        members: tuple[str, ...],
        executor: Host,
    ) -> None:
        self._task, self._members, self._tokenizer = task, members, executor.tokenizer
        self._tracker = kinds.track(len(rows))
        self._problems = [row.problem for row in rows]
        self._written: list[list[int]] = [[] for _ in rows]

    @property
    def second(self) -> Bool[Tensor, " batch"]:
        boundary = self._tracker.boundary.tolist()
        return torch.tensor(
            [at and self._due(row) in self._members for row, at in enumerate(boundary)], dtype=torch.bool
        )

    def _due(self, row: int) -> str:
        """The behaviour that is due at the end of what a row has written."""
        ids = tuple(self._written[row])
        flags, text = (False,) * len(ids), decode(self._tokenizer, ids) if ids else ""
        pieces = rollout_pieces(self._tokenizer, ids) if ids else ()
        return self._task.due(Rollout(self._problems[row], 0, (), ids, flags, flags, "length", text, pieces))

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._tracker.advance(tokens)
        for ids, token in zip(self._written, tokens.tolist(), strict=True):
            ids.append(token)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._tracker.select(rows)
        self._problems = [self._problems[i] for i in rows.tolist()]
        self._written = [self._written[i] for i in rows.tolist()]
