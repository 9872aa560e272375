"""Agenda: which stage of a run comes next, for several who carry them out at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Condition
from typing import final

from reasonmech.door import checked
from reasonmech.experiments.stages.base import Stage


@final
class Agenda:
    """Stages that are not finished. A stage can be taken when all that it needs is finished.

    Of those that can be taken, the one that most others wait for comes first, then the order of the
    configuration. Safe to use from several threads.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        """
        Args:
            stages: those that are to be carried out; what they need beside them is finished.
        """
        self._stages = {stage.kind: stage for stage in stages}
        self._waiting = list(self._stages)
        self._taken: set[str] = set()
        self._closed = False
        self._changed = Condition()

    def __len__(self) -> int:
        """Stages that nobody has taken."""
        return len(self._waiting)

    def take(self) -> str | None:
        """Kind of the next stage, once there is one; None when everything is finished, or it was closed."""
        with self._changed:
            while not self._closed and (self._waiting or self._taken):
                if ready := [kind for kind in self._waiting if self._is_ready(kind)]:
                    kind = max(ready, key=lambda one: len(self._dependents(one)))
                    self._waiting.remove(kind)
                    self._taken.add(kind)
                    return kind
                self._changed.wait()
            return None

    @checked
    def finish(self, kind: str) -> None:
        """A stage that was taken is finished."""
        with self._changed:
            self._taken.remove(kind)
            self._changed.notify_all()

    @checked
    def give_back(self, kind: str) -> None:
        """Whoever took a stage cannot carry it out: somebody else is to."""
        with self._changed:
            self._taken.remove(kind)
            self._waiting = [one for one in self._stages if one in self._waiting or one == kind]
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more is taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_ready(self, kind: str) -> bool:
        unfinished = {*self._waiting, *self._taken}
        return not unfinished & {*self._stages[kind].reads}

    def _dependents(self, kind: str) -> set[str]:
        """Waiting stages that need a stage, or one that does."""
        direct = [one for one in self._waiting if kind in self._stages[one].reads]
        return {*direct}.union(*(self._dependents(one) for one in direct))
