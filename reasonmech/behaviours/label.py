"""From traces to labels and rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, get_args

from reasonmech.behaviours.base import Behaviour, as_traces, definition_of, find_behaviour
from reasonmech.errors import UnknownNameError
from reasonmech.labels import Labels, Mode, Span
from reasonmech.rollout import STATED, Trace


class Rate(NamedTuple):
    """`hits` of `n`; `value` is NaN when n is 0."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else float("nan")


def label(
    traces: Trace | Sequence[Trace], behaviour: str | Behaviour, *, mode: Mode = "anticipates"
) -> Labels:
    """Labels of a behaviour, by its registered name or itself.

    Args:
        mode: "anticipates": a row per opportunity, read at the last token before it; "recognises": a row per
            token that the model chose, positive inside the behaviour's spans.

    Raises:
        ArgumentError: no traces, or no behaviour. UnknownNameError: no such behaviour, or no such mode.
        DataError: there is no opportunity, or no token, to label.
    """
    if mode not in get_args(Mode):
        raise UnknownNameError("mode of labels", str(mode), get_args(Mode))
    traces, labeller = as_traces(traces), find_behaviour(behaviour)
    name = behaviour if isinstance(behaviour, str) else behaviour.name
    rollouts = [trace.rollout for trace in traces]
    if mode == "anticipates":
        labels = Labels.from_opportunities(name, rollouts, [labeller.opportunities(t) for t in traces])
    else:
        labels = Labels.from_spans(name, rollouts, [labeller.spans(trace) for trace in traces])
    return replace(labels, definition=definition_of(labeller))


def onset_rate(traces: Trace | Sequence[Trace], behaviour: str | Behaviour) -> Rate:
    """Onset hazard: onsets per opportunity."""
    labeller = find_behaviour(behaviour)
    onsets = [o.onset for trace in as_traces(traces) for o in labeller.opportunities(trace)]
    return Rate(sum(onsets), len(onsets))


def verified_rate(traces: Trace | Sequence[Trace], behaviour: str | Behaviour) -> Rate:
    """Execution success: spans that did their job, of those whose value the model itself stated."""
    labeller = find_behaviour(behaviour)
    outcomes = [
        labeller.verify(trace, span)
        for trace in as_traces(traces)
        for span in labeller.spans(trace)
        if not _stated_by_environment(trace, span)
    ]
    return Rate(sum(outcomes), len(outcomes))


def _stated_by_environment(trace: Trace, span: Span) -> bool:
    stated = trace.marks.get(STATED, frozenset()).intersection(range(*span))
    return any(trace.rollout.by_environment[offset] for offset in stated)
