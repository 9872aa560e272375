"""TraceColumns: sentence, kind and opportunity of every token, for the index of a capture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from reasonmech.behaviours.base import Behaviour, find_behaviour
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.rollout import Rollout, Trace

NO_SENTENCE = -1


@final
@dataclass(frozen=True, eq=False)
class TraceColumns:
    """What traces say of each token: `capture(..., keep=Keep(columns=TraceColumns(traces, ("check",))))`.

    Columns: `sentence`, its number in the rollout (-1 outside of sentences, as in the prompt); `kind`, the
    sentence's ("" outside); `opportunity`, whether one of the behaviours could begin right after this token;
    `onset`, which of them begins there ("" for none; the first named where several do).

    Attributes:
        traces: of the rollouts that are captured, in their order.
        behaviours: whose opportunities are marked; registered names, or behaviours.
    """

    traces: Sequence[Trace]
    behaviours: tuple[str | Behaviour, ...] = ()

    @checked
    def __call__(self, number: int, text: Rollout | str) -> Mapping[str, np.ndarray]:
        """Columns of one rollout, a value per token, prompt included.

        Raises:
            DataError: the trace of this number is another rollout's. UnknownNameError: no such behaviour.
        """
        trace = self.traces[number] if number < len(self.traces) else None
        if trace is None or isinstance(text, str) or trace.rollout.all_ids != text.all_ids:
            raise DataError(
                f"trace {number} of {len(self.traces)} is not that of text {number}",
                do="give the traces of the rollouts that are captured, in their order: parse(rollouts)",
            )
        first, n = len(text.prompt_ids), len(text.all_ids)
        sentence, kind = np.full(n, NO_SENTENCE, dtype=np.int32), np.full(n, "", dtype=object)
        opportunity, onset = np.zeros(n, dtype=bool), np.full(n, "", dtype=object)
        for i, s in enumerate(trace.sentences):
            sentence[first + s.start : first + s.stop] = i
            kind[first + s.start : first + s.stop] = s.kind
        for behaviour in reversed(self.behaviours):  # so that the first named has the last word
            name = behaviour if isinstance(behaviour, str) else behaviour.name
            for moment in find_behaviour(behaviour).opportunities(trace):
                opportunity[first + moment.offset - 1] = True
                if moment.onset:
                    onset[first + moment.offset - 1] = name
        return {"sentence": sentence, "kind": kind, "opportunity": opportunity, "onset": onset}
