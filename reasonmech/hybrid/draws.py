"""Many draws of a null in one batch: row after row the same problems, under the parts of draw after draw.

A run of `n` rows per draw has rows [0, n) of draw 0, [n, 2 n) of draw 1, and so on: all draws share problems,
what the environment writes, and the noise of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hybrid.executors import Vectors, check_base, check_table
from reasonmech.hybrid.log import ControllerLog
from reasonmech.hybrid.parts import Moment, Selector
from reasonmech.hybrid.rules import Schedule
from reasonmech.problem import ProblemSet
from reasonmech.runtime.rerun import CleanPast, rerun
from reasonmech.shapes import NextLogits
from reasonmech.splitmix import mix_tensor

_SALT: Final = 0x5EED_0005


def repeat(problems: ProblemSet, draws: int) -> ProblemSet:
    """The problems once per draw."""
    return ProblemSet(
        [*problems] * draws, task=problems.task, environment=problems.environment, repeats=draws
    )


def draw_of(moment: Moment, n: int) -> Int[Tensor, " batch"]:
    """Number of the draw that each row belongs to, `n` rows each."""
    return torch.tensor([row.index // n for row in moment.rows], dtype=torch.long)


@final
class VectorDraws:
    """Category vectors, others in every draw, at the position where the gate is open.

    Attributes:
        tables: [draw, category, d_model], residual-norm units.
        n: rows per draw.
    """

    def __init__(self, vectors: Vectors, tables: Float[Tensor, "draw category d_model"], n: int) -> None:
        if not bool(torch.isfinite(tables).all()):
            raise DataError("vectors of a null are not finite", do="draw them with smaller doses")
        self.host, self.site, self.trained, self.n = vectors.host, vectors.site, vectors.trained, n
        self._scale = vectors.scale
        check_table(tables, vectors.trained, vectors.host, vectors.site)
        self.tables, self._made_for = tables.to(vectors.table), vectors.made_for

    def check(self, host: Host, categories: Sequence[str]) -> None:
        check_base("the vectors of a null", self._made_for, host, (len(self.trained), categories))

    def covers(self, category: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return self.trained[category]

    def execute(
        self, moment: Moment, context: CleanPast, rows: Int[Tensor, " row"], category: Int[Tensor, " row"]
    ) -> NextLogits:
        device = self.tables.device
        rows_added = self.tables[draw_of(moment, self.n)[rows].to(device), category.to(device)]

        def edit(x: Float[Tensor, "batch d_model"]) -> Float[Tensor, "batch d_model"]:
            return x + (rows_added if self._scale is None else (self._scale(x, category) * rows_added).to(x))

        return rerun(self.host, context.select(rows.to(self.host.device)), self.site, edit)


@final
@dataclass(frozen=True, eq=False)
class SelectorDraws:
    """A selector whose randomness is another in every draw.

    Attributes:
        n: rows per draw.
        draws: how many; after the last the first comes again (under another dose, say). 0: each is new.
    """

    selector: Selector
    n: int
    draws: int = 0

    def select(self, moment: Moment) -> Int[Tensor, " batch"]:
        draw = draw_of(moment, self.n)
        keys = moment.keys ^ mix_tensor((draw % self.draws if self.draws else draw) + _SALT)
        return self.selector.select(replace(moment, keys=keys))


@final
@dataclass(frozen=True, eq=False)
class CategoryDraws:
    """One category wherever the gate is open, another one in every draw.

    Attributes:
        categories: one per draw.
        n: rows per draw.
    """

    categories: Sequence[int]
    n: int

    def select(self, moment: Moment) -> Int[Tensor, " batch"]:
        return torch.tensor(self.categories)[draw_of(moment, self.n)]


@final
@dataclass(frozen=True, eq=False)
class ScheduleDraws:
    """Times and categories, others in every draw.

    Attributes:
        schedules: one per draw; after the last the first comes again.
        n: rows per draw.
    """

    schedules: Sequence[Schedule]
    n: int

    def opens(self, moment: Moment) -> Bool[Tensor, " batch"]:
        return moment.boundary & (self._scheduled(moment) >= 0)

    def select(self, moment: Moment) -> Int[Tensor, " batch"]:
        return self._scheduled(moment).clamp_min(0)

    def _scheduled(self, moment: Moment) -> Int[Tensor, " batch"]:
        categories = [
            self.schedules[row.index // self.n % len(self.schedules)].category(row, sentence)
            for row, sentence in zip(moment.rows, moment.sentence.tolist(), strict=True)
        ]
        return torch.tensor(categories, dtype=torch.long)


@final
class LogDraws:
    """What the controller of each draw decided.

    Attributes:
        logs: one per draw.
        n: rows per draw.
    """

    def __init__(self, draws: int, n: int) -> None:
        self.logs, self.n = [ControllerLog() for _ in range(draws)], n

    def __repr__(self) -> str:
        return f"LogDraws({len(self.logs)} draws of {self.n} rows)"

    def record(
        self,
        moment: Moment,
        rows: Int[Tensor, " row"],
        category: Int[Tensor, " row"],
        steered: NextLogits,
        *,
        handed_over: bool = False,
    ) -> None:
        """Write down the rows at which the gate is open, draw by draw (`ControllerLog.record`)."""
        draw = draw_of(moment, self.n)[rows]
        for number in draw.unique().tolist():
            of_draw = draw == number
            parts = (rows[of_draw], category[of_draw], steered[of_draw.to(steered.device)])
            self.logs[number].record(moment, *parts, handed_over=handed_over)
