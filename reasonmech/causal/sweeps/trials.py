"""Trials: what every configuration of a sweep is tried on, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

from reasonmech.arguments import as_sequence, check_type
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.problem import ProblemSet
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import GREEDY
from reasonmech.runtime.decoding.prompts import as_problems
from reasonmech.runtime.pass_rows import LabelledTexts, TextLike
from reasonmech.step import CausalLabeller


@checked
@final
@dataclass(frozen=True, eq=False)
class TextTrials:
    """Texts that are read under every configuration.

    Attributes:
        texts: texts, token ids or rollouts; `LabelledTexts` where a mask says `labelled(name)`.
        batch_rows: rows of one pass; halved, with a warning, where memory is short.

    Raises:
        DataError: a pass without rows.
    """

    texts: Sequence[TextLike] | TextLike | LabelledTexts
    batch_rows: int = 128

    def __post_init__(self) -> None:
        check_type(self.batch_rows, int, name="batch_rows", allowed="rows of one pass, a whole number")
        if self.batch_rows < 1:
            raise DataError(f"batch_rows={self.batch_rows}", allowed="1 or more rows of one pass")


@checked
@final
@dataclass(frozen=True, eq=False)
class RolloutTrials:
    """Problems that are answered under every configuration, with the same sampling noise.

    Attributes:
        problems: a task's problems, or plain prompts.
        decode: how all of them decode. Its batch size is halved, with a warning, where memory is short.
        seeds: sampling seeds, each of which runs every configuration. Empty: decode's.
        labellers: of masks that say `labelled(name)`; functions with a name.

    Raises:
        DataError: no problem, a seed twice, or several at temperature 0.
    """

    problems: ProblemSet | Sequence[str] | str
    decode: Decode = GREEDY
    seeds: Sequence[int] = ()
    labellers: Mapping[str, CausalLabeller] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type(self.decode, Decode, name="decode", allowed="rm.Decode(temperature=1.0, ...)")
        seeds = tuple(self.seeds) or (self.decode.seed,)
        if not self.problem_set:
            raise DataError("no problem to sweep over", do="ask for at least one")
        if len(set(seeds)) < len(seeds) or (len(seeds) > 1 and self.decode.temperature == 0):
            raise DataError(
                f"seeds {seeds} at temperature {self.decode.temperature}",
                allowed="each once; one at temperature 0, where nothing is random",
            )
        object.__setattr__(self, "seeds", seeds)

    @cached_property
    def problem_set(self) -> ProblemSet:
        """The problems with their task."""
        if isinstance(self.problems, ProblemSet):
            return self.problems
        return as_problems(
            as_sequence(self.problems, str, name="problems", allowed="rm.load_task(...), or prompts")
        )
