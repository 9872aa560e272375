"""Questions: the problems that a pair is judged on, and the others that anything is fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from reasonmech.claims.measuring.extent import Extent
from reasonmech.door import checked
from reasonmech.problem import ProblemSet
from reasonmech.ranges import Seed
from reasonmech.tasks import Split, load_task


@final
@checked
@dataclass(frozen=True, eq=False)
class Questions:
    """Problems of one task, and the seed of the noise with which they are answered.

    Attributes:
        judged: those that the pair is judged on.
        fitting: others, of another split.
        fitted_on: what those are, in words.
        seed: of the sampling noise.
    """

    judged: ProblemSet
    fitting: ProblemSet
    fitted_on: str
    seed: Seed

    @classmethod
    @checked
    def drawn(cls, task: str, extent: Extent, *, split: Split, seed: Seed) -> Questions:
        """Problems of a split of a task.

        Raises:
            UnknownNameError: no such task or split.
        """
        other: Split = "test" if split == "tuning" else "tuning"
        return cls(
            load_task(task, n=extent.n, seed=seed, split=split),
            load_task(task, n=extent.fitting, seed=seed, split=other),
            f"{extent.fitting} problems of split {other}",
            seed,
        )
