"""From traces to labels and rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reasonmech.behaviours.base import behaviours, sentence_at
from reasonmech.labels import Labels, Mode, Span
from reasonmech.rollout import Trace


class Rate(NamedTuple):
    """`hits` of `n`; `value` is NaN when n is 0."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else float("nan")


def label(traces: Sequence[Trace], behaviour: str, *, mode: Mode = "anticipates") -> Labels:
    """Labels of a behaviour: at its opportunities, read at the last token before (anticipates), or in its
    spans.

    Raises:
        UnknownNameError: no such behaviour.
        DataError: there is no opportunity, or no token, to label.
    """
    found, rollouts = behaviours.get(behaviour), [trace.rollout for trace in traces]
    if mode == "anticipates":
        return Labels.from_opportunities(
            behaviour, rollouts, [found.opportunities(trace) for trace in traces]
        )
    return Labels.from_spans(behaviour, rollouts, [found.spans(trace) for trace in traces])


def onset_rate(traces: Sequence[Trace], behaviour: str) -> Rate:
    """Onset hazard: onsets per opportunity."""
    seen = [o.onset for trace in traces for o in behaviours.get(behaviour).opportunities(trace)]
    return Rate(sum(seen), len(seen))


def verified_rate(traces: Sequence[Trace], behaviour: str) -> Rate:
    """Execution success: spans that did their job, of those whose value the model itself stated."""
    found = behaviours.get(behaviour)
    seen = [
        found.verify(trace, span)
        for trace in traces
        for span in found.spans(trace)
        if not _by_environment(trace, span)
    ]
    return Rate(sum(seen), len(seen))


def _by_environment(trace: Trace, span: Span) -> bool:
    at = sentence_at(trace, span)[1].value_at
    return at is not None and trace.rollout.by_environment[at]
