"""What the models wrote on the evaluation problems, and how coders fire on it."""

from __future__ import annotations

from typing import Final, final

from reasonmech.coders import SparseCoder
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.controls import written_stats
from reasonmech.experiments.stages.rollouts import Source, read_rollouts
from reasonmech.locate import FeatureStats
from reasonmech.rollout import Trace
from reasonmech.runtime import capture
from reasonmech.tasks import parse

STUDIED: Final[dict[str, Source]] = {"base": "study_base", "thinking": "study_thinking"}


@final
class StudyTexts:
    """What the models wrote on the evaluation problems, and how coders fire on it; each is read once."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self._traces: dict[str, list[Trace]] = {}
        self._stats: dict[tuple[str, str], FeatureStats] = {}

    def traces(self, side: str) -> list[Trace]:
        if side not in self._traces:
            self._traces[side] = parse(read_rollouts(self.context, STUDIED[side]))
        return self._traces[side]

    def stats(self, side: str, coder: SparseCoder) -> FeatureStats:
        """How a coder's features fire in this side's host, over the answers."""
        key = (side, f"{coder.name} {coder.site}")
        if key not in self._stats:
            host = self.context.pair.base if side == "base" else self.context.pair.thinking
            acts = capture(host, read_rollouts(self.context, STUDIED[side]), [coder.site], progress=False)
            self._stats[key] = written_stats(coder, acts)
        return self._stats[key]
